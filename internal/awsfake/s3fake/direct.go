package s3fake

import (
	"fmt"
	"io"
	"slices"
)

// What stands here goes round the API: a test looks at the state, or changes it as somebody else would. Nothing of it is counted,
// refused or failed. A bucket, key or version that does not exist is the test's mistake and panics.

// CreateBucket makes a bucket, or gives an existing one this configuration.
func (s *Server) CreateBucket(name string, c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		b = newBucket(name, s.now())
		s.buckets[name] = b
	}
	b.Config = c
}

// Configure changes a bucket's configuration.
func (s *Server) Configure(name string, change func(*Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.must(name).Config)
}

// Put writes a version and returns its id. Encryption and the default lock of the bucket apply where a says nothing.
func (s *Server) Put(bucket, key string, body []byte, a Attrs) (version string) {
	return s.PutContent(bucket, key, io.NewSectionReader(bytesContent(body), 0, int64(len(body))), a)
}

// PutContent is Put with bytes that are made when they are read, so that an object of many gigabytes takes no memory. They are
// read for the ETag unless the encryption is one whose ETags are no MD5.
func (s *Server) PutContent(bucket, key string, body *io.SectionReader, a Attrs) (versionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.must(bucket)
	v := &version{Attrs: a.clone(), modified: s.now(), body: content{pieces: []piece{{body, 0, body.Size()}}, size: body.Size()}}
	s.fill(b, v)
	v.etag = s.etagOf(v.body, v.Encryption)
	s.push(b, key, v)
	return v.id
}

// fill gives a new version what the bucket says of new versions.
func (s *Server) fill(b *bucket, v *version) {
	if v.Encryption == (Encryption{}) {
		v.Encryption = b.Encryption
	}
	if v.Encryption == (Encryption{}) {
		v.Encryption.Algorithm = "AES256"
	}
	if (v.Encryption.Algorithm == "aws:kms" || v.Encryption.Algorithm == "aws:kms:dsse") && v.Encryption.KeyID == "" {
		v.Encryption.KeyID = fmt.Sprintf("arn:aws:kms:%s:%s:alias/aws/s3", s.Region, s.Account)
	}
	if v.Lock == (Lock{}) && b.ObjectLock {
		if b.DefaultMode != "" && b.DefaultDays > 0 {
			v.Lock.Mode, v.Lock.Until = b.DefaultMode, v.modified.AddDate(0, 0, b.DefaultDays)
		}
		if b.DefaultHoldDays > 0 {
			v.Lock.EventHold, v.Lock.HoldDays = true, b.DefaultHoldDays
		}
	}
}

// Delete removes a version whatever protects it; without an id it does what DeleteObject does.
func (s *Server) Delete(bucket, key, versionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.must(bucket)
	if versionID != "" || b.Versioning == VersioningOff {
		if versionID == "" {
			versionID = Null
		}
		b.remove(key, versionID)
		return
	}
	s.push(b, key, &version{marker: true, modified: s.now()})
}

// Change changes what is known of a version (the current one without an id): tags, locks, annotations, archive class and restore, ACL,
// replication status.
func (s *Server) Change(bucket, key, versionID string, change func(*Attrs)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.must(bucket)
	v := b.current(key)
	if versionID != "" {
		v = b.version(key, versionID)
	}
	change(&v.Attrs)
}

// Replicate does what replication has yet to do in a bucket: pending versions and markers are copied to the destinations of their
// rules that this server has, with attributes and annotations. Removing a version by its id is never replicated.
func (s *Server) Replicate(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.must(bucket)
	for _, key := range b.sorted() {
		for _, v := range slices.Backward(b.objects[key]) {
			if v.Replication != "PENDING" {
				continue
			}
			v.Replication = "COMPLETED"
			for _, r := range b.Replication {
				to := s.buckets[r.Destination]
				v.Replication = "" // so that the rule is asked about the version as it was written
				if r.matches(key, v) && to != nil {
					copied := *v
					copied.Attrs = v.clone()
					copied.Replication = "REPLICA"
					id := v.id
					s.push(to, key, &copied)
					copied.id = id // a replica keeps its source's version id
					to.place(key, &copied)
				}
				v.Replication = "COMPLETED"
			}
		}
	}
}

// Versions returns the versions and delete markers of a key, newest first.
func (s *Server) Versions(bucket, key string) (out []Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range s.must(bucket).objects[key] {
		out = append(out, Version{
			Attrs: v.clone(), ID: v.id, Latest: i == 0, Marker: v.marker, ETag: v.etag, Size: v.body.size, Modified: v.modified,
			Body: io.NewSectionReader(v.body, 0, v.body.size),
		})
	}
	return out
}

// Keys returns the keys of a bucket that have versions or delete markers, in order.
func (s *Server) Keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.must(bucket).sorted()
}

// Uploads returns the multipart uploads of a bucket that are under way, oldest first within a key.
func (s *Server) Uploads(bucket string) (out []Upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.must(bucket).sortedUploads() {
		parts := map[int]*io.SectionReader{}
		for n, p := range u.parts {
			parts[n] = io.NewSectionReader(p.body, 0, p.body.size)
		}
		out = append(out, Upload{Attrs: u.attrs.clone(), Key: u.key, ID: u.id, Started: u.started, Parts: parts})
	}
	return out
}

func (s *Server) must(name string) *bucket {
	b := s.buckets[name]
	if b == nil {
		panic("s3fake: no bucket " + name)
	}
	return b
}
