package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/object"
	"coffer/pipeline"
	"coffer/triage"
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

type objectJSON struct {
	Object   coffer.Object     `json:"object"`
	Exists   bool              `json:"exists"`
	Size     int64             `json:"size"`
	Modified time.Time         `json:"modified,omitzero"`
	Type     string            `json:"contentType,omitempty"`
	Tags     []coffer.Tag      `json:"tags"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Versions []versionJSON     `json:"versions"`
	Copies   []object.Copy     `json:"copies,omitempty"`
	Findings []triage.Summary  `json:"findings"`
}

type versionJSON struct {
	VersionID string    `json:"versionId"`
	Size      int64     `json:"size"`
	Modified  time.Time `json:"modified"`
	Latest    bool      `json:"latest,omitempty"`
	Marker    bool      `json:"deleteMarker,omitempty"`
	Locked    string    `json:"locked,omitempty"`
}

func (c *objectShowCmd) Run(e *env) error {
	o, err := parseURI(c.Object, true)
	if err != nil {
		return err
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	id := a.Pipeline.ObjectID(o)
	ask := e.ask()
	permit, err := a.Guard.Check(e.ctx, ask.Caller, access.ObjectRead, access.Resource{Kind: access.Object, ID: id, Bucket: o.Bucket}, ask.Context)
	if err != nil {
		return err
	}
	if _, err := a.Log.Append(e.ctx, permit.Entry(audit.Done)); err != nil {
		return err
	}
	out := objectJSON{Object: o, Tags: []coffer.Tag{}, Versions: []versionJSON{}, Findings: []triage.Summary{}}
	info, err := a.Objects.Stat(e.ctx, o)
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return err
	}
	if err == nil {
		out.Exists, out.Size, out.Modified, out.Type = true, info.Size, info.Modified, info.Attrs.ContentType
		out.Metadata = info.Attrs.Metadata
		out.Object.VersionID = info.VersionID
		out.Tags = append(out.Tags, info.Attrs.Tags...)
	}
	for v, err := range a.Objects.Versions(e.ctx, o) {
		if errors.Is(err, coffer.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		out.Versions = append(out.Versions, versionJSON{v.VersionID, v.Size, v.Modified, v.Latest, v.Marker, v.Locked})
	}
	if out.Exists {
		if out.Copies, err = a.Objects.Copies(e.ctx, o); err != nil {
			return err
		}
	}
	recs, err := pipeline.FindingsOn(e.ctx, a.Records, id)
	if err != nil {
		return err
	}
	for _, r := range recs {
		out.Findings = append(out.Findings, r.Summary())
	}
	if !out.Exists && len(out.Versions) == 0 && len(out.Findings) == 0 {
		return fmt.Errorf("object: %w", coffer.ErrNotFound)
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
		e.out.say("  finding  %s %s, %s, %d of %d sealed", f.ID, f.Severity, f.Status, f.Sealed, f.Count)
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
	a, err := e.open()
	if err != nil {
		return err
	}
	ask := e.ask()
	permit, err := a.Guard.Check(e.ctx, ask.Caller, access.ObjectRead, access.Resource{Kind: access.Object, ID: "list", Bucket: o.Bucket}, ask.Context)
	if err != nil {
		return err
	}
	if _, err := a.Log.Append(e.ctx, permit.Entry(audit.Done)); err != nil {
		return err
	}
	n := 0
	for info, err := range a.Objects.List(e.ctx, o.Bucket, o.Key, "") {
		if err != nil {
			return err
		}
		if n++; c.Limit > 0 && n > c.Limit {
			break
		}
		if e.JSON {
			if err := e.out.element(map[string]any{"bucket": info.Bucket, "key": info.Key, "size": info.Size}); err != nil {
				return err
			}
			continue
		}
		if info.Key == "" {
			e.out.say("s3://%s", safe(info.Bucket))
		} else {
			e.out.say("%12d  s3://%s/%s", info.Size, safe(info.Bucket), safe(info.Key))
		}
	}
	return nil
}

type objectVersioningCmd struct {
	Bucket string `arg:"" help:"Bucket."`
	State  string `arg:"" optional:"" default:"" enum:"on,suspended," help:"on or suspended; shows the state without it."`
}

func (c *objectVersioningCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	ask := e.ask()
	action := access.AdminObject
	if c.State == "" {
		action = access.ObjectRead
	}
	permit, err := a.Guard.Check(e.ctx, ask.Caller, action, access.Resource{Kind: access.Object, ID: "bucket", Bucket: c.Bucket}, ask.Context)
	if err != nil {
		return err
	}
	entry := permit.Entry(audit.Done)
	entry.Detail = map[string]string{"versioning": c.State}
	if _, err := a.Log.Append(e.ctx, entry); err != nil {
		return err
	}
	if c.State != "" {
		if err := a.Dir.SetVersioning(e.ctx, c.Bucket, c.State == "on"); err != nil {
			return err
		}
	}
	state, err := a.Objects.Versioning(e.ctx, c.Bucket)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"bucket": c.Bucket, "versioning": state})
	}
	e.out.say("versioning of %s: %s", safe(c.Bucket), state)
	return nil
}
