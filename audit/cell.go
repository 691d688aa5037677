package audit

// Inert returns a cell of a CSV export that no spreadsheet takes for a formula, whoever chose its text. Every export uses it.
func Inert(cell string) string { return inert(cell) }
