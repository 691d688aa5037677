package identity

// SetIterations makes passphrases cheap to hash in tests.
func SetIterations(id *Identity, n int) { id.iterations = n }

// CauseOf returns the cause of a refusal.
var CauseOf = causeOf

// PerMinute is how many refusals of tokens are recorded in a minute.
const PerMinute = perMinute

// Published is the packed list of common passphrases.
var Published = published
