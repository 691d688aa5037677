package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"coffer"
	"coffer/format"
)

// prefix puts a member's name in front of member paths. It remembers the last path, because regions come in runs of the same.
type prefix struct{ enc, last, joined string }

func (p *prefix) path(m string) string {
	switch {
	case p.enc == "":
		return m
	case m == "":
		return p.enc
	case m != p.last:
		p.last, p.joined = m, p.enc+"!"+m
	}
	return p.joined
}

// at returns l as seen from outside the member; no place stays none.
func (p *prefix) at(l coffer.Location) coffer.Location {
	if l.Kind != coffer.NoPlace {
		l.Member = p.path(l.Member)
	}
	return l
}

// visitor shows the regions of a member to the visitor of the whole archive.
type visitor struct {
	visit format.Visitor
	pre   prefix
	want  wanted
	// edited is called with the edits that a region takes, before the format applies them; nil in a walk that writes
	// nothing.
	edited func(r *format.Region, edits []format.Edit) error
	dst    io.Writer // of the member; nil in a walk that writes nothing

	// err is the first error of visit, edited or dst. Formats hand such errors on as they are, and so do we; kept apart
	// from what is wrong with the document.
	err error

	cur    *format.Region // the format's own
	out    format.Region
	places []format.Place
}

func (v *visitor) region(r *format.Region) ([]format.Edit, error) {
	v.cur, v.out = r, *r
	v.out.At, v.out.Group = v.pre.at(r.At), v.pre.at(r.Group)
	v.places = v.places[:0]
	for _, p := range r.Places {
		if v.want.locations != nil {
			p.Alt += v.want.alt[p.Want]
			p.Want = v.want.index[p.Want]
		}
		v.places = append(v.places, p)
	}
	v.out.Places = v.places
	if r.Locate != nil {
		v.out.Locate = v.locate
	}
	if r.Splice != nil {
		v.out.Splice = v.splice
	}
	edits, err := v.visit(&v.out)
	if err == nil && v.edited != nil && len(edits) > 0 {
		var taken []format.Edit
		if taken, err = r.Take(edits); err == nil && len(taken) > 0 {
			err = v.edited(r, taken)
		}
	}
	if err != nil {
		v.err = err
		return nil, err
	}
	return edits, nil
}

func (v *visitor) locate(i, j int) coffer.Location { return v.pre.at(v.cur.Locate(i, j)) }

func (v *visitor) splice(edits []format.Edit) ([]format.Span, error) {
	spans, err := v.cur.Splice(edits)
	for i := range spans {
		spans[i].Member = v.pre.path(spans[i].Member)
	}
	return spans, err
}

// Write is the destination of the member's walk.
func (v *visitor) Write(p []byte) (int, error) {
	n, err := v.dst.Write(p)
	if err != nil {
		v.err = err
	}
	return n, err
}

// walk runs f over the member. failed tells what was wrong with the reading, which counts more than what f made of it.
func (v *visitor) walk(ctx context.Context, f format.Format, src format.Source, failed func() error) error {
	var dst io.Writer
	if v.dst != nil {
		dst = v
	}
	err := f.Walk(ctx, dst, src, v.want.locations, v.region)
	if v.err != nil {
		return v.err
	}
	if e := failed(); e != nil {
		return e
	}
	return err
}

// lazy is the destination of a member's walk. Until the first edit what is written equals the member's beginning and only its
// length is kept.
type lazy struct {
	held int64
	to   io.Writer // nil before the first edit
	// begin is called at the first edit. It returns where the new member goes, to which the first held bytes of the
	// member have been copied.
	begin func(held int64) (io.Writer, error)
}

func (l *lazy) Write(p []byte) (int, error) {
	if l.to == nil {
		l.held += int64(len(p))
		return len(p), nil
	}
	return l.to.Write(p)
}

func (l *lazy) edited(*format.Region, []format.Edit) (err error) {
	if l.to == nil {
		l.to, err = l.begin(l.held)
	}
	return err
}

// container is what the walks of zip and tar have in common: members by name, and errors that concern one of them.
type container struct {
	ctx    context.Context
	kind   string
	b      *budget
	choose Chooser
	visit  format.Visitor
	routes *router // nil: everything is wanted
	writes bool

	names names
	at    MemberError // the current member
	refs  []ref
	plain string // the current member's own name

	// fault is the first error that concerned one member of a walk that writes nothing: the others are walked all the
	// same, so that one bad member does not hide what is in a thousand good ones.
	fault error
}

// next begins a member and reports whether something in it may be wanted.
func (c *container) next(name string, offset int64) (bool, error) {
	if err := c.ctx.Err(); err != nil {
		return false, err
	}
	unique, n := c.names.unique(name)
	c.plain = name
	c.at = MemberError{Kind: c.kind, Member: coffer.MemberPath(unique), N: c.at.N + 1, Offset: offset}
	if err := c.b.entry(); err != nil {
		return false, c.at.in(err)
	}
	if c.routes == nil {
		return true, nil
	}
	c.refs = c.routes.candidates(unique, n)
	return len(c.refs) > 0, nil
}

// opaque is called for a member that cannot be walked because of what. It is an error only if something in it is wanted.
func (c *container) opaque(what string) error {
	if c.routes == nil || !whole(c.refs) {
		return nil
	}
	return c.failed(fmt.Errorf("%s: %w", what, coffer.ErrUnsupported))
}

// failed decides about an error in the current member: nil lets the walk go on to the next.
func (c *container) failed(err error) error {
	named := c.at.in(err)
	if c.writes || errors.Is(err, coffer.ErrLimit) || named == err {
		return named
	}
	if c.fault == nil {
		c.fault = named
	}
	return nil
}

// walk walks the current member, whose first bytes are head. dst and edited are nil in a walk that writes nothing. It reports
// false when the member is opaque or nothing in it is wanted.
func (c *container) walk(src format.Source, head []byte, dst io.Writer, edited func(*format.Region, []format.Edit) error, failed func() error) (bool, error) {
	f := c.choose(c.plain, head)
	if f == nil {
		return false, c.opaque("member of no known format")
	}
	v := visitor{visit: c.visit, pre: prefix{enc: c.at.Member}, edited: edited, dst: dst}
	if c.routes != nil {
		name := coffer.Location{Member: c.at.Member}.Names()[0]
		if v.want = c.routes.inside(c.refs, name, nested(f)); len(v.want.locations) == 0 {
			return false, nil
		}
	}
	err := v.walk(c.ctx, f, src, failed)
	switch {
	case err == nil:
		return true, nil
	case v.err != nil:
		return true, v.err
	}
	return true, c.failed(err)
}
