package web

import (
	"context"
	"net/http"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/remedy"
)

type bucketIn struct {
	Bucket string `path:"bucket" maxLength:"255"`
}

type versioningIn struct {
	Bucket string `path:"bucket" maxLength:"255"`
	Body   api.VersioningBody
}

func (*versioningIn) hasBody() {}

func (s *Server) objectRoutes() {
	handle(s, &route{
		id: "show-object", method: http.MethodPost, path: "/v1/objects/query", tag: "objects", action: access.ObjectRead, on: object,
		summary: "Show an object's state, tags, versions and findings",
	}, func(ctx context.Context, c *call, in *body[api.ObjectQuery]) (*reply[api.ObjectDetail], error) {
		l, err := s.Remedy.Look(ctx, c.ask, coffer.Object{Bucket: in.Body.Bucket, Key: in.Body.Key})
		if err != nil {
			return nil, err
		}
		return &reply[api.ObjectDetail]{Status: http.StatusOK, Body: objectOf(l)}, nil
	})
	handle(s, &route{
		id: "list-objects", method: http.MethodPost, path: "/v1/objects/list", tag: "objects", action: access.ObjectRead, on: object,
		summary: "List the objects of a bucket, or the buckets",
	}, func(ctx context.Context, c *call, in *body[api.ObjectsQuery]) (*reply[api.Objects], error) {
		q := in.Body
		query := q.Bucket + "\x00" + q.Prefix
		var after string
		if _, err := s.from(c, query, q.Cursor, &after); err != nil {
			return nil, err
		}
		n := pageLimit(q.Limit)
		list, err := s.Remedy.ListObjects(ctx, c.ask, q.Bucket, q.Prefix, after, n+1)
		if err != nil {
			return nil, err
		}
		out := &reply[api.Objects]{Status: http.StatusOK, Body: api.Objects{Objects: []api.ListedObject{}}}
		for _, o := range list[:min(n, len(list))] {
			out.Body.Objects = append(out.Body.Objects, api.ListedObject(o))
		}
		if len(list) > n {
			last := list[n-1]
			if after = last.Key; q.Bucket == "" {
				after = last.Bucket
			}
			out.Body.Next, err = s.cursor(c, query, after)
		}
		return out, err
	})
	handle(s, &route{
		id: "show-versioning", method: http.MethodGet, path: "/v1/buckets/{bucket}/versioning", tag: "objects", action: access.ObjectRead, on: object,
		summary: "The versioning of a bucket",
	}, func(ctx context.Context, c *call, in *bucketIn) (*reply[api.Versioning], error) {
		v, err := s.Remedy.Versioning(ctx, c.ask, in.Bucket)
		return &reply[api.Versioning]{Status: http.StatusOK, Body: api.Versioning{Bucket: in.Bucket, Versioning: v}}, err
	})
	handle(s, &route{
		id: "set-versioning", method: http.MethodPut, path: "/v1/buckets/{bucket}/versioning", tag: "objects", action: access.AdminObject, on: object,
		summary: "Set the versioning of a bucket that is kept in a folder", also: []int{409},
	}, func(ctx context.Context, c *call, in *versioningIn) (*reply[api.Versioning], error) {
		v, err := s.Remedy.SetVersioning(ctx, c.ask, in.Bucket, in.Body.Versioning == "on", s.Home.SetVersioning)
		return &reply[api.Versioning]{Status: http.StatusOK, Body: api.Versioning{Bucket: in.Bucket, Versioning: v}}, err
	})
}

func objectOf(l *remedy.Look) api.ObjectDetail {
	o := api.ObjectDetail{
		Object: coffer.Object{Bucket: l.Info.Bucket, Key: l.Info.Key, VersionID: l.Info.VersionID}, Exists: l.Exists, Size: l.Info.Size,
		Modified: l.Info.Modified, Type: l.Info.Attrs.ContentType, Metadata: l.Info.Attrs.Metadata, Tags: []coffer.Tag{},
		Versions: []api.Version{}, Findings: []api.Finding{},
	}
	o.Tags = append(o.Tags, l.Info.Attrs.Tags...)
	for _, v := range l.Versions {
		o.Versions = append(o.Versions, api.Version{
			VersionID: v.VersionID, Size: v.Size, Modified: v.Modified, Latest: v.Latest, Marker: v.Marker, Locked: v.Locked})
	}
	for _, x := range l.Copies {
		o.Copies = append(o.Copies, api.Copy(x))
	}
	for _, r := range l.Findings {
		sum := r.Summary()
		o.Findings = append(o.Findings, summary(&sum))
	}
	return o
}
