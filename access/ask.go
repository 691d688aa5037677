package access

// Ask is who asks for something and under which circumstances; what exactly is asked, the domain packages add.
type Ask struct {
	Caller  Caller
	Context Context
}

// Values returns a copy of a that says how many values would be shown or changed.
func (a Ask) Values(n int) Ask {
	a.Context.Values = n
	return a
}
