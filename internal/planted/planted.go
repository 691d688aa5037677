// Package planted holds the switch for bugs that are planted on purpose: a checker that has never caught anything proves
// nothing. Only a build with the tag "planted" can switch one on; in any other build [On] is a constant that costs nothing.
package planted

// The bugs, by what goes wrong.
const (
	SkipReadBack     = "skip-read-back"    // a set of values is not read back after it was stored
	SkipCheckSealed  = "skip-check-sealed" // a fix does not demand that the values are sealed
	IgnoreETag       = "ignore-etag"       // a rewrite takes whatever is current for what was planned
	TagReplaces      = "tag-replaces"      // tags are written without what was there
	RevealUnrecorded = "reveal-unrecorded" // a value is opened without an entry before it
	PurgeBytesFirst  = "purge-bytes-first" // the kept original goes before its key
	KeepNoOriginal   = "keep-no-original"  // the object is overwritten before the original is kept
	ForgetDigest     = "forget-digest"     // a repeated apply does not recognise its own write
	UndoUnchecked    = "undo-unchecked"    // undo overwrites whatever is there
	LeaveGeneration  = "leave-generation"  // an unfinished set of values is left behind
	LeaveOriginal    = "leave-original"    // a repeated apply leaves the first kept original behind
	DoubleRescan     = "double-rescan"     // a rescan seals the same values again
	LoseSpan         = "lose-span"         // one replacement is not applied
	SealCVV          = "seal-cvv"          // card verification codes are sealed
	UndoAfterGrace   = "undo-after-grace"  // undo works after the grace period
	OverclaimClean   = "overclaim-clean"   // a version that is left is not reported
	DropForeignTag   = "drop-foreign-tag"  // undo does not restore the tags
)

// All lists the bugs.
var All = []string{
	SkipReadBack, SkipCheckSealed, IgnoreETag, TagReplaces, RevealUnrecorded, PurgeBytesFirst, KeepNoOriginal, ForgetDigest, UndoUnchecked,
	LeaveGeneration, LeaveOriginal, DoubleRescan, LoseSpan, SealCVV, UndoAfterGrace, OverclaimClean, DropForeignTag,
}
