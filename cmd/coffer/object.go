package main

import (
	"strings"

	"coffer"
	"coffer/api"
)

type objectCmd struct {
	Show       objectShowCmd       `cmd:"" help:"Show an object's tags, versions and findings."`
	List       objectListCmd       `cmd:"" help:"List buckets, or the objects of a bucket."`
	Versioning objectVersioningCmd `cmd:"" help:"Show or set the versioning of a bucket kept in a folder."`
}

// parseURI reads s3://BUCKET/KEY; the key is taken as it stands.
func parseURI(s string, key bool) (coffer.Object, error) {
	rest, ok := strings.CutPrefix(s, "s3://")
	bucket, k, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" || key && k == "" {
		return coffer.Object{}, usage("write s3://BUCKET/KEY")
	}
	return coffer.Object{Bucket: bucket, Key: k}, nil
}

type objectShowCmd struct {
	Object string `arg:"" name:"uri" help:"s3://BUCKET/KEY"`
}

func (c *objectShowCmd) Run(e *env) error {
	o, err := parseURI(c.Object, true)
	if err != nil {
		return err
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	out, err := cl.Object(e.ctx, api.ObjectQuery{Bucket: o.Bucket, Key: o.Key})
	if err != nil {
		return e.named("object", "", err)
	}
	if e.JSON {
		return e.out.element(out)
	}
	e.out.say("s3://%s/%s", safe(o.Bucket), safe(o.Key))
	if out.Exists {
		e.out.say("  %d bytes, changed %s", out.Size, out.Modified.Local().Format("2006-01-02 15:04:05 MST"))
	} else {
		e.out.say("  no current version")
	}
	for _, t := range out.Tags {
		e.out.say("  tag      %s = %s", safe(t.Key), safe(t.Value))
	}
	for _, v := range out.Versions {
		s := v.VersionID
		if s == "" {
			s = "(not versioned)"
		}
		if v.Marker {
			s += ", delete marker"
		}
		if v.Latest {
			s += ", current"
		}
		if v.Locked != "" {
			s += ", locked: " + v.Locked
		}
		e.out.say("  version  %s", safe(s))
	}
	for _, x := range out.Copies {
		e.out.say("  copy     %s %s", x.What, safe(x.Name))
	}
	for _, f := range out.Findings {
		e.out.say("  finding  %s %s, %s, %d of %d sealed", f.Finding, coffer.Severity(f.Severity), f.Status, f.Sealed, f.Occurrences)
	}
	return nil
}

type objectListCmd struct {
	URI   string `arg:"" optional:"" help:"s3://BUCKET/PREFIX; buckets without it."`
	Limit int    `help:"Show at most this many." placeholder:"N"`
}

func (c *objectListCmd) Run(e *env) error {
	var o coffer.Object
	if c.URI != "" {
		var err error
		if o, err = parseURI(c.URI, false); err != nil {
			return err
		}
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	for x, err := range cl.Objects(e.ctx, o.Bucket, o.Key, c.Limit) {
		if err != nil {
			return err
		}
		if e.JSON {
			if err := e.out.element(x); err != nil {
				return err
			}
			continue
		}
		if x.Key == "" {
			e.out.say("s3://%s", safe(x.Bucket))
		} else {
			e.out.say("%12d  s3://%s/%s", x.Size, safe(x.Bucket), safe(x.Key))
		}
	}
	return nil
}

type objectVersioningCmd struct {
	Bucket string `arg:"" help:"Bucket."`
	State  string `arg:"" optional:"" default:"" enum:"on,suspended," help:"on or suspended; shows the state without it."`
}

func (c *objectVersioningCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	var v api.Versioning
	if c.State == "" {
		v, err = cl.Versioning(e.ctx, c.Bucket)
	} else {
		v, err = cl.SetVersioning(e.ctx, c.Bucket, c.State)
	}
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(v)
	}
	e.out.say("versioning of %s: %s", safe(v.Bucket), v.Versioning)
	return nil
}
