package coffer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"coffer"
)

// No way of printing, logging or marshalling a Plaintext shows its bytes, alone or inside something else.
func TestPlaintextPrints(t *testing.T) {
	const secret = "4111-SECRET-1111"
	p := coffer.NewPlaintext([]byte(secret))
	type holder struct {
		Name string
		P    coffer.Plaintext
		Ptr  *coffer.Plaintext
		L    []coffer.Plaintext
		M    map[string]coffer.Plaintext
		A    any

		hidden  coffer.Plaintext // package fmt calls no method of what is in an unexported field
		hiddenL []coffer.Plaintext
		hiddenA any
	}
	h := holder{"n", p, &p, []coffer.Plaintext{p}, map[string]coffer.Plaintext{"k": p}, p, p, []coffer.Plaintext{p}, &p}

	var out bytes.Buffer
	for _, verb := range "vsqxXdbopcUtTeEfFgGwz" {
		for _, flags := range []string{"", "+", "#", "-40", "040", ".3", " ", "# 5.2", "+#"} {
			for _, v := range []any{p, &p, h, &h, []any{p, &p}, [1]coffer.Plaintext{p}, struct{ coffer.Plaintext }{p}, struct{ p coffer.Plaintext }{p}} {
				fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", v)
			}
		}
	}
	fmt.Fprintln(&out, p, &p, h)
	fmt.Fprint(&out, p.String(), p.GoString(), fmt.Errorf("wrapped: %v %w", p, errors.New("x")))
	log.New(&out, "", 0).Print(p, h)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		l := slog.New(handler)
		l.Info("x", "p", p, "ptr", &p, "h", h, "any", slog.AnyValue(p), "group", slog.GroupValue(slog.Any("p", p)))
		l.With("p", p).WithGroup("g").Info("y", "list", []coffer.Plaintext{p})
	}
	for _, v := range []any{p, &p, h, map[string]any{"p": p}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	type element struct {
		P coffer.Plaintext   `xml:",attr"`
		Q []coffer.Plaintext `xml:"q"`
	}
	b, err := xml.Marshal(element{p, []coffer.Plaintext{p}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if err := template.Must(template.New("").Parse("{{.P}} {{printf `%s %v %q %x` .P .P .P .P}} {{.L}} {{.M}} {{.A}}")).Execute(&out, h); err != nil {
		t.Fatal(err)
	}

	raw := []byte(secret)
	for name, form := range map[string]string{
		"text": secret, "part": "SECRET", "hex": hex.EncodeToString(raw[5:11]), "base64": base64.StdEncoding.EncodeToString(raw)[4:12],
		"decimals": strings.Trim(fmt.Sprint(raw[5:11]), "[]"), "Go bytes": "0x53, 0x45", "characters": strconv.QuoteToASCII(secret)[1:17],
		"hexadecimals": "53 45 43", "binary": fmt.Sprintf("%b", raw[5:7]), "octal": fmt.Sprintf("%o", raw[5:7]),
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(form)) {
			t.Errorf("the bytes are shown as %s", name)
		}
	}
	if n := strings.Count(out.String(), "[redacted]"); n < 500 {
		t.Errorf("only %d of the outputs say that something was redacted", n)
	}
}

func TestPlaintext(t *testing.T) {
	b := []byte("synthetic")
	p := coffer.NewPlaintext(b)
	if p.Len() != 9 || !bytes.Equal(p.Expose(), []byte("synthetic")) || &p.Expose()[0] != &b[0] {
		t.Error("a plaintext is not the bytes that it was made of")
	}
	q := p
	p.Wipe()
	if !bytes.Equal(b, make([]byte, 9)) || !bytes.Equal(q.Expose(), b) {
		t.Error("wiping left bytes behind")
	}
	var zero coffer.Plaintext
	zero.Wipe()
	if zero.Len() != 0 || zero.Expose() != nil || fmt.Sprint(zero) != "[redacted]" {
		t.Error("the zero plaintext is not empty and redacted")
	}
	if reflect.TypeFor[coffer.Plaintext]().Comparable() {
		t.Error("plaintexts can be compared with ==, which would not compare their values")
	}
	// What was printed cannot be taken for a value when it is read back.
	if err := json.Unmarshal([]byte(`{"P":"[redacted]"}`), &struct{ P coffer.Plaintext }{}); err == nil {
		t.Error("a redacted value can be read back")
	}
}
