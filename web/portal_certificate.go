package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/remedy"
)

// certificatePage is a certificate as it is read and printed. The file has everything in full.
type certificatePage struct {
	ID, Short    string
	Title        string
	Sentence     []string // before the name, and after it
	Name         string
	Address      string
	Kinds        string
	Action       string
	State        string
	Clean        bool
	Copies       []certifiedCopy
	Steps        []certifiedAct
	Findings     []fact
	NotLooked    []string
	Remains      []string
	Commands     []string
	Issued       *when
	Signer       string
	Tree         string
	Root         []string
	NoCheckpoint bool
	Original     string
	Vault        string
}

type certifiedCopy struct{ What, Where, Version, Hash, State string }

type certifiedAct struct {
	Step, Who string
	At        *when
	Entry     int64
}

var certifiedWords = map[string]string{
	"plan": "Planned", "approve": "Approved", "applied": "Applied, verified", "undone": "Undone", "approve-purge": "Purge approved", "purged": "Purged",
}

func (s *Server) certificatePages() {
	s.page(&route{id: "certificates", method: http.MethodGet, path: "/certificates", action: access.FindingList}, s.certificateList)
	s.page(&route{id: "certificate", method: http.MethodGet, path: "/certificates/{plan}", action: access.ObjectRead, on: plan, direct: true}, func(ctx context.Context, v *visit) (*screen, error) {
		c, err := s.Home.Certify(ctx, v.ask, v.r.PathValue("plan"))
		if err != nil {
			return nil, err
		}
		p := s.certificatePage(ctx, v, c)
		return &screen{page: "certificate", title: s.Home.Scrub(p.Title + ", " + p.Name), nav: "/certificates", data: p}, nil
	})
	s.page(&route{id: "certificate-file", method: http.MethodGet, path: "/certificates/{plan}/file", action: access.ObjectRead, on: plan, direct: true}, func(ctx context.Context, v *visit) (*screen, error) {
		c, err := s.Home.Certify(ctx, v.ask, v.r.PathValue("plan"))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(certificate(c)); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		// The id is Coffer's own: letters, digits and a dash.
		return &screen{kind: "application/json", body: b.Bytes(), header: http.Header{"Content-Disposition": {`attachment; filename="` + certificateFile(c.Plan) + `"`}}}, nil
	})
}

func certificateFile(plan string) string { return "certificate-" + plan + ".json" }

// certificateList lists the plans that can be certified, those whose copies are all clean among them.
func (s *Server) certificateList(ctx context.Context, v *visit) (*screen, error) {
	list, err := s.Remedy.List(ctx, v.ask)
	if err != nil {
		return nil, err
	}
	type certificateRow struct {
		ID, Name, Folder, Act string
		Values                int
		Sign                  sign
		Missing               string
		At                    *when
		By                    string
	}
	type certificatesPage struct {
		Rows  []certificateRow
		Tabs  []tab
		Clean int
		More  string
	}
	var p certificatesPage
	list = slices.DeleteFunc(list, func(one *remedy.Plan) bool {
		return one.State != remedy.Applied && one.State != remedy.Purged && one.State != remedy.Undone
	})
	show := v.get("show")
	is := func(one *remedy.Plan, which string) bool {
		clean := one.Clean == "all" && one.State != remedy.Undone
		return which == "" || which == "clean" && clean || which == "open" && !clean
	}
	var shown []*remedy.Plan
	for _, t := range []struct{ id, name string }{{"", "All"}, {"clean", "All copies clean"}, {"open", "Something remains"}} {
		n := 0
		for _, one := range list {
			if is(one, t.id) {
				if n++; t.id == show {
					shown = append(shown, one)
				}
			}
		}
		to := "/certificates"
		if t.id != "" {
			to += "?show=" + t.id
		}
		p.Tabs = append(p.Tabs, tab{Name: t.name, Count: n, To: to, Here: t.id == show})
	}
	from := 0
	_, _ = fmt.Sscan(v.get("from"), &from) // what is no number is the beginning
	from = max(0, min(from, len(shown)))
	end := min(len(shown), from+200)
	if end < len(shown) {
		p.More = fmt.Sprintf("/certificates?show=%s&from=%d", url.QueryEscape(show), end)
	}
	for _, one := range shown[from:end] {
		row := certificateRow{ID: one.ID, Act: capital(pastWords[one.Action]), Values: one.Changes, Sign: fixSign(one), At: v.at(one.Finished), By: s.personName(ctx, v, one.By)}
		row.Name, row.Folder = fileName(one.Object)
		left := len(one.Residual)
		if one.State == remedy.Applied && one.Original != nil {
			left++
		}
		if row.Missing = counted(left, "copy"); left > 1 {
			row.Missing = grouped(left) + " copies"
		}
		switch {
		case one.State == remedy.Undone:
			row.Missing = "the original is back"
		case left == 0:
			row.Missing = "nothing known"
		}
		p.Rows = append(p.Rows, row)
	}
	return &screen{page: "certificates", title: "Certificates", nav: "/certificates", data: p}, nil
}

// certificatePage puts a certificate into words.
func (s *Server) certificatePage(ctx context.Context, v *visit, c *remedy.Certificate) certificatePage {
	name, _ := fileName(coffer.Object{Bucket: c.Object.Bucket, Key: c.Object.Key})
	p := certificatePage{
		ID: c.Plan, Short: planNumber(c.Plan), Name: name, Address: "s3://" + c.Object.Bucket + "/" + c.Object.Key, State: capital(c.Clean), Clean: c.Clean == "all known copies clean",
		Issued: v.at(c.Issued), Original: capital(c.Original), Vault: capital(c.Vault),
	}
	p.Commands = []string{"jq -r .checkpoint " + certificateFile(c.Plan) + " > checkpoint.txt", "coffer audit verify --checkpoint checkpoint.txt"}
	if text, until, ok := strings.Cut(c.Original, ", until "); ok {
		if at, err := time.Parse(time.RFC3339, until); err == nil {
			p.Original = capital(text) + ", until " + v.at(at).Text
		}
	}
	kinds := fixPage{}
	kinds.kinds(&remedy.Plan{Counts: c.Types})
	p.Kinds = kinds.Kinds
	values := counted(c.Values, "value")
	were := " were "
	if c.Values == 1 {
		were = " was "
	}
	p.Title = "Certificate of removal"
	switch {
	case c.State == remedy.Undone:
		p.Title = "Statement of removal so far"
		p.Sentence = []string{"The removal of " + values + " from ", " was undone. The object is back as it was, and holds them."}
	case p.Clean && c.State == remedy.Purged:
		p.Sentence = []string{values + were + "removed from ", " and from every copy known to Coffer. None can be recovered from the places listed here."}
	case p.Clean:
		p.Sentence = []string{values + were + "removed from ", " and from every copy known to Coffer. The original can still be brought back: " + strings.ToLower(p.Original[:1]) + p.Original[1:] + "."}
	default:
		p.Title = "Statement of removal so far"
		p.Sentence = []string{values + were + "removed from the current version of ", ". Not every copy is clean yet: what remains is listed first."}
	}
	p.Action = capital(string(c.Action))
	if c.Verified {
		p.Action += ", verified by reading back and scanning again"
	}
	left := "Rewritten, 0 left"
	switch {
	case c.Object.Removed:
		left = "Removed"
	case c.Clean != "all known copies clean" && c.Clean != "current clean":
		left = capital(c.Clean)
	}
	if c.State == remedy.Undone {
		left = "Put back, holds values"
	}
	now := certifiedCopy{"Current object", c.Object.Bucket, c.Object.VersionAfter, c.Object.SHA256After, left}
	view := &fixPage{}
	var remains []certifiedCopy
	for _, r := range c.Residual {
		row := view.copyOf(&remedy.Plan{Object: coffer.Object{Bucket: c.Object.Bucket, Key: c.Object.Key}, Changes: c.Values}, r)
		remains = append(remains, certifiedCopy{row.What, row.Where, row.Version, "", row.Sign.Word})
	}
	original := certifiedCopy{"Kept original", "Coffer, sealed", "", "", p.Original}
	if at := v.at(c.Unopenable); at != nil {
		original.State = "Key destroyed " + at.Text
	}
	vault := certifiedCopy{"Sealed values", "Coffer's vault", counted(c.Values, "value"), "", p.Vault}
	if p.Clean {
		p.Copies = append([]certifiedCopy{now}, append(remains, original, vault)...)
	} else {
		p.Copies = append(remains, original, now, vault)
	}
	for _, st := range c.Steps {
		word := certifiedWords[st.Step]
		if word == "" {
			word = capital(st.Step)
		}
		who := s.personName(ctx, v, st.By)
		if who == "You" {
			who = v.ask.Caller.Name
		}
		p.Steps = append(p.Steps, certifiedAct{word, who, v.at(st.At), st.Entry})
	}
	for _, f := range c.Findings {
		text := string(f.Status)
		if f.Closing != nil {
			text = "closed: " + strings.ReplaceAll(f.Closing.Disposition, "-", " ")
			auth := "no"
			if f.Closing.AuthenticationData {
				auth = "yes"
			}
			text += "; card authentication data: " + auth
			if f.Closing.Origin != "" {
				text += "; origin: " + f.Closing.Origin
			}
			if f.Closing.CorrectiveAction != "" {
				text += "; corrective action: " + f.Closing.CorrectiveAction
			}
		}
		p.Findings = append(p.Findings, fact{shortID(f.Finding), text})
	}
	p.NotLooked = []string{"Copies outside the storage that Coffer can list; memory and disks of the systems that read the object before " + v.at(c.Applied).Text + "."}
	if c.Possible > 0 {
		p.NotLooked = append(p.NotLooked, counted(c.Possible, "place")+" that merely look alike were not touched.")
	}
	for _, why := range slices.Sorted(maps.Keys(c.Left)) {
		short, _, _ := strings.Cut(why, "; --")
		p.NotLooked = append(p.NotLooked, grouped(c.Left[why])+" reported, not touched: "+short+".")
	}
	p.signature(c.Checkpoint)
	return p
}

// signature reads the checkpoint of the log that covers the certificate: a signed note (https://c2sp.org/tlog-checkpoint), with origin, size
// and root hash of the tree, an empty line, and the signatures.
func (p *certificatePage) signature(note string) {
	text, signatures, _ := strings.Cut(note, "\n\n")
	lines := strings.Split(text, "\n")
	if len(lines) < 3 {
		p.NoCheckpoint = true
		return
	}
	p.Tree = lines[1]
	if root, err := base64.StdEncoding.DecodeString(lines[2]); err == nil {
		h := hex.EncodeToString(root)
		for len(h) > 0 {
			n := min(16, len(h))
			p.Root = append(p.Root, h[:n])
			h = h[n:]
		}
	}
	for line := range strings.Lines(signatures) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "—" {
			p.Signer = f[1]
			if b, err := base64.StdEncoding.DecodeString(f[2]); err == nil && len(b) > 4 {
				p.Signer += "+" + hex.EncodeToString(b[:4])
			}
			break
		}
	}
}
