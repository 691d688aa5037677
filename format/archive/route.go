package archive

import (
	"crypto/sha256"
	"strconv"
	"strings"

	"coffer"
)

const unnamed = "(unnamed)"

// names gives every member of an archive a name of its own.
type names struct {
	// seen counts by hash, because the names themselves may be long and many. The hash must not be one whose collisions an
	// attacker can make, or a span would mean two members.
	seen map[[16]byte]int
}

// unique returns name for the first member called so, and "name#2", "name#3" for the following, with the number; both skip
// what another member is really called.
func (s *names) unique(name string) (string, int) {
	if name == "" {
		name = unnamed
	}
	if s.seen == nil {
		s.seen = map[[16]byte]int{}
	}
	key := hash(name)
	n := s.seen[key]
	unique := name
	for {
		n++
		if n > 1 {
			unique = name + "#" + strconv.Itoa(n)
			if s.seen[hash(unique)] > 0 {
				continue
			}
			s.seen[hash(unique)] = 1
		}
		s.seen[key] = n
		return unique, n
	}
}

func hash(name string) [16]byte {
	h := sha256.Sum256([]byte(name))
	return [16]byte(h[:16])
}

// normal is a member's name as it is compared in the second reading.
func normal(name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	for {
		switch {
		case strings.HasPrefix(name, "./"):
			name = name[2:]
		case strings.HasPrefix(name, "/"):
			name = name[1:]
		default:
			return name
		}
	}
}

// ref is a wanted location that may lie in a member of some name.
type ref struct {
	want int
	name string // as written
	rest string // what remains of the first name behind the member's, when the name was only its beginning
}

// maxFolders bounds how deep in folders an inner archive may lie whose path is written with "/". Names come from archives and
// can consist of slashes.
const maxFolders = 32

// router finds the wanted locations that may lie in a member.
type router struct {
	want []coffer.Location
	refs map[string][]ref // by normal name
}

// newRouter returns nil when everything is wanted.
func newRouter(want []coffer.Location) *router {
	if want == nil {
		return nil
	}
	r := &router{want: want, refs: make(map[string][]ref, len(want))}
	for i, l := range want {
		if l.Member == "" {
			continue
		}
		first, _ := strip(l)
		key := normal(first)
		r.refs[key] = append(r.refs[key], ref{want: i, name: first})
		// "inner.tar/a/b.csv" may be a/b.csv in the archive inner.tar.
		for j, n := 0, 0; j+1 < len(key) && n < maxFolders; j++ {
			if key[j] == '/' {
				r.refs[key[:j]] = append(r.refs[key[:j]], ref{want: i, rest: key[j+1:]})
				n++
			}
		}
	}
	return r
}

// strip returns the first name of l's member path, decoded, and l as seen from inside that member.
func strip(l coffer.Location) (string, coffer.Location) {
	enc, rest, _ := strings.Cut(l.Member, "!")
	first := coffer.Location{Member: enc}.Names()
	l.Member = rest
	if first == nil {
		return "", l
	}
	return first[0], l
}

// wanted are wanted locations as seen from inside a member.
type wanted struct {
	locations  []coffer.Location // nil: everything
	index, alt []int
}

func (w *wanted) add(l coffer.Location, index, alt int) {
	w.locations = append(w.locations, l)
	w.index = append(w.index, index)
	w.alt = append(w.alt, alt)
}

// candidates returns the refs to the member called name, which is the n-th of its own name.
func (r *router) candidates(name string, n int) []ref {
	refs := r.refs[normal(name)]
	if n > 1 {
		plain := strings.TrimSuffix(name, "#"+strconv.Itoa(n))
		refs = append(refs[:len(refs):len(refs)], r.refs[normal(plain)]...)
	}
	return refs
}

// inside returns what is wanted from the member called name, given its candidates and whether it is an archive. The
// locations are never nil, which would mean everything.
func (r *router) inside(refs []ref, name string, archive bool) wanted {
	w := wanted{locations: []coffer.Location{}}
	for _, f := range refs {
		_, at := strip(r.want[f.want])
		alt := 0
		if f.name != name {
			alt = AltName
		}
		switch {
		case f.rest != "":
			if archive {
				w.add(at.In(f.rest), f.want, alt)
			}
		case archive || at.Member == "":
			w.add(at, f.want, alt)
		}
	}
	return w
}

// whole reports whether one of refs means something in the member itself rather than in an archive that it may be.
func whole(refs []ref) bool {
	for _, f := range refs {
		if f.rest == "" {
			return true
		}
	}
	return false
}

// inGzip returns what is wanted from the one member of a gzip file.
func inGzip(want []coffer.Location, name string, archive bool) wanted {
	if want == nil {
		return wanted{}
	}
	w := wanted{locations: []coffer.Location{}}
	for i, l := range want {
		first, at := strip(l)
		if !archive {
			if at.Member == "" {
				w.add(at, i, 0)
			}
			continue
		}
		w.add(l, i, 0)
		first, name := normal(first), normal(name)
		if first == name && at.Member != "" {
			w.add(at, i, AltName)
		}
		if rest, ok := strings.CutPrefix(first, name+"/"); ok && rest != "" {
			w.add(at.In(rest), i, AltName)
		}
	}
	return w
}
