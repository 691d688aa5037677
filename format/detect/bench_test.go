package detect_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"coffer"
	"coffer/format/detect"
)

// corpora are 1 MiB of text without a value: prose, a log, and a table that is mostly numbers.
func corpora() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	grow := func(line func(b []byte) []byte) []byte {
		b := make([]byte, 0, 1<<20+256)
		for len(b) < 1<<20 {
			b = line(b)
		}
		return b[:1<<20]
	}
	return map[string][]byte{
		"prose": grow(func(b []byte) []byte {
			return append(b, "The quarterly report is ready, and all of the regions have sent their figures to us in time.\n"...)
		}),
		"log": grow(func(b []byte) []byte {
			return fmt.Appendf(b, "2026-07-14T08:%02d:%02dZ INFO payout worker=%d order=%d took %d.%03d s from 10.0.%d.%d\n",
				r.IntN(60), r.IntN(60), r.IntN(16), r.IntN(1e6), r.IntN(9), r.IntN(999), r.IntN(255), r.IntN(255))
		}),
		"table": grow(func(b []byte) []byte {
			return fmt.Appendf(b, "%d,%d.%02d,2026-07-%02d,%d,%d,%d\n", r.IntN(1e8), r.IntN(1e5), r.IntN(100), 1+r.IntN(28), r.IntN(1e6), r.IntN(1e4), r.IntN(1e9))
		}),
	}
}

func BenchmarkScan(b *testing.B) {
	all := corpora()
	for _, name := range []string{"prose", "log", "table"} {
		x := detect.Text{Text: all[name], Name: []byte("message")}
		run := func(what string, f func()) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.SetBytes(int64(len(x.Text)))
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		}
		run("bytes.Count", func() { bytes.Count(x.Text, []byte{'\n'}) })
		for _, id := range []coffer.DataType{coffer.CardNumberNoKeyword, coffer.USSocialSecurity, "GERMANY_BANK_ACCOUNT_NUMBER", "PKCS"} {
			d := detector(b, id)
			run(string(id), func() { d.Scan(x) })
		}
		s := set(b)
		run("ScanAll", func() { s.ScanAll(x, nil, func(coffer.DataType, detect.Match) bool { return true }) })
	}
}
