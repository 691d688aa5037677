// Package coffer has the words that every stage of the program shares: findings and occurrences, locations, plaintexts, and the few
// errors that callers tell apart. What follows is a way through the rest, in the order in which a finding travels.
//
//	macie        an event, export or discovery result becomes a [Finding] with its [Occurrence]s. Pure parsing.
//	pipeline     one finding, from arrival to tag: pin the object, locate, extract, seal, record, tag.
//	object       where the objects are: a contract, its suite in objecttest, a folder in dir, memory in mem.
//	format       documents. One walk locates, extracts, scans and rewrites, so that these cannot disagree; a package for
//	             each kind of document, archives as decorators around another, all chooses.
//	detect       (in format) where a value of a type begins and ends, and whether its checksum holds.
//	envelope     sealing: a data key for each message, wrapped by a keeper of keys (keyfile, mem). docs/format-seal.md.
//	store        a small ordered table with compare-and-swap (sqlite, mem), its values sealed by one decorator.
//	vault        sealed values: deposited, read back, listed, revealed, searched. There is no other way to a value.
//	triage       the record of a finding, verdicts, and the lists.
//	remedy       a fix: plan, approve, apply, verify, undo, purge, certificate.
//	job          work that outlives a call: leases, progress, cancelling, resuming.
//	sidedoor     who reads past all this, with an S3 client; the policy against it.
//	cost         what it costs on AWS.
//	notify       webhooks, EventBridge, Security Hub, OCSF files: told from the log, each target at its position in it.
//	check        every invariant, by the code that the fault tests ask.
//
// Two packages stand in front of all of them. Package access answers whether a caller may do something, by Cedar policies; package
// audit asks it, records the answer, and gives out the permits without which nothing can be recorded and so nothing done.
// docs/format-log.md is the log on disk.
//
// Package app builds everything from the configuration and is the only one that knows the adapters; cmd/coffer has a file for each
// command; demo has the synthetic documents. internal/durable writes files that survive a power cut, internal/fault breaks things in
// tests, internal/importrules keeps this shape.
//
// Begin with [Occurrence], then pipeline.Pipeline.Take, then vault.Vault.Reveal and remedy.Remedy.Apply.
package coffer
