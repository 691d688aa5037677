package app

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"coffer"
	"coffer/object"
)

// Role is what one process does of all that an installation has to do. A process opens what its role needs and nothing else: it starts
// quicker, and it can be given the rights to that and no others.
type Role string

// The roles.
const (
	Whole    Role = ""         // everything, as on one machine
	Intake   Role = "intake"   // takes findings in: reads and tags objects, seals values
	API      Role = "api"      // answers requests: opens sealed values, reaches no objects
	Remedy   Role = "remedy"   // fixes objects: opens no sealed value
	Verify   Role = "verify"   // says whether sealed values are those that a fix has before it, and nothing else
	Schedule Role = "schedule" // puts the log in order and finds what time brings
	Worker   Role = "worker"   // does what intake and remedy do, without their limits
)

// part says what a role needs.
type part struct {
	objects, originals bool
	log                bool // it records; verify does nothing that is on record, but for what asks it
	signs              bool // it puts the log in order, for which it needs the key that signs it
	verifies           bool // it asks the function that Config.Verifier names
}

var parts = map[Role]part{
	Whole:    {objects: true, originals: true, log: true, signs: true, verifies: true},
	Intake:   {objects: true, log: true},
	API:      {log: true},
	Remedy:   {objects: true, originals: true, log: true, verifies: true},
	Verify:   {},
	Schedule: {log: true, signs: true},
	Worker:   {objects: true, originals: true, log: true, verifies: true},
}

// Roles are the names of all roles but Whole.
func Roles() []Role { return []Role{Intake, API, Remedy, Verify, Schedule, Worker} }

// unreached is the storage of a role that reaches none. Whoever asks it for something is told so: this is no outage, and nothing of what is
// kept there is known.
type unreached struct{ what string }

func (u unreached) err() error {
	return fmt.Errorf("this part of the installation does not reach %s: %w", u.what, coffer.ErrUnsupported)
}

func (u unreached) Stat(context.Context, coffer.Object) (object.Info, error) {
	return object.Info{}, u.err()
}

func (u unreached) Open(context.Context, coffer.Object) (object.Body, error) {
	return object.Body{}, u.err()
}

func (u unreached) infos(yield func(object.Info, error) bool) { yield(object.Info{}, u.err()) }

func (u unreached) List(context.Context, string, string, string) iter.Seq2[object.Info, error] {
	return u.infos
}

func (u unreached) Versions(context.Context, coffer.Object) iter.Seq2[object.Info, error] {
	return u.infos
}

func (u unreached) Versioning(context.Context, string) (object.Versioning, error) { return "", u.err() }

func (u unreached) Copies(context.Context, coffer.Object) ([]object.Copy, error) { return nil, u.err() }

func (u unreached) Tag(context.Context, coffer.Object, []coffer.Tag) error { return u.err() }

func (u unreached) Stage(context.Context, coffer.Object, object.Attrs, func(io.Writer) error) (object.Staged, error) {
	return nil, u.err()
}

func (u unreached) Copy(context.Context, coffer.Object, coffer.Object) (coffer.Object, error) {
	return coffer.Object{}, u.err()
}

func (u unreached) Delete(context.Context, coffer.Object) (coffer.Object, error) {
	return coffer.Object{}, u.err()
}

func (u unreached) Sweep(context.Context, time.Duration) (int, error) { return 0, u.err() }

var _ object.Store = unreached{}
