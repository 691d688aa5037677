package s3fake

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// document builds an answer.
type document struct {
	b     bytes.Buffer
	stack []string
}

func newDocument(root string) *document {
	d := &document{}
	d.b.WriteString(xml.Header)
	if root == "Error" {
		d.b.WriteString("<Error>")
	} else {
		fmt.Fprintf(&d.b, "<%s xmlns=%q>", root, namespace)
	}
	d.stack = []string{root}
	return d
}

// text writes a value. S3 writes control characters of keys as references that XML 1.0 does not know, which is why lists are asked
// for with encoding-type=url.
func (d *document) text(v string) {
	for _, r := range v {
		switch {
		case r == '<':
			d.b.WriteString("&lt;")
		case r == '>':
			d.b.WriteString("&gt;")
		case r == '&':
			d.b.WriteString("&amp;")
		case r == '"':
			d.b.WriteString("&quot;")
		case r < ' ':
			fmt.Fprintf(&d.b, "&#x%x;", r)
		default:
			d.b.WriteRune(r)
		}
	}
}

func (d *document) open(name string) {
	d.b.WriteString("<" + name + ">")
	d.stack = append(d.stack, name)
}

func (d *document) close() {
	name := d.stack[len(d.stack)-1]
	d.stack = d.stack[:len(d.stack)-1]
	d.b.WriteString("</" + name + ">")
}

func (d *document) add(name, v string) {
	d.b.WriteString("<" + name + ">")
	d.text(v)
	d.b.WriteString("</" + name + ">")
}

// some is add for elements that are left out when empty.
func (d *document) some(name, v string) {
	if v != "" {
		d.add(name, v)
	}
}

func (d *document) number(name string, n int64) { d.add(name, strconv.FormatInt(n, 10)) }
func (d *document) bool(name string, v bool)    { d.add(name, strconv.FormatBool(v)) }
func (d *document) time(name string, t time.Time) {
	d.add(name, t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

func (d *document) owner(name, account string) {
	d.open(name)
	d.add("ID", canonicalID(account))
	d.close()
}

func (d *document) bytes() []byte {
	for len(d.stack) > 0 {
		d.close()
	}
	return d.b.Bytes()
}

// canonicalID is an account's id in access control lists.
func canonicalID(account string) string { return sha256Hex([]byte(account)) }

// encoder returns what lists write keys with: encoding-type=url escapes as URLEncoder does, all but slashes.
func (c *call) encoder() (func(string) string, error) {
	switch c.q.Get("encoding-type") {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/") }, nil
	}
	return nil, invalidArgument("encoding-type", c.q.Get("encoding-type"), "Invalid Encoding Method specified in Request")
}

// decode reads a document that the client sent.
func (c *call) decode(into any) error {
	if len(bytes.TrimSpace(c.body)) == 0 || xml.Unmarshal(c.body, into) != nil {
		return malformedXML()
	}
	return nil
}
