package triage_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/triage"
)

func TestFilter(t *testing.T) {
	s := &triage.Summary{
		ID: "f1", Type: "SensitiveData:S3Object/Financial", Types: []coffer.DataType{coffer.BankAccountNumber, coffer.CardNumber},
		Severity: coffer.SeverityMedium, Object: coffer.Object{Bucket: "moontrust-statements", Key: "exports/a.csv"},
		Created: time.Date(2026, 7, 15, 3, 0, 0, 0, time.UTC), Status: triage.Open, State: triage.StateSealed,
	}
	for _, c := range []struct {
		terms string
		want  bool
	}{
		{"", true},
		{"severity=medium", true}, {"severity=high,medium", true}, {"severity!=medium", false}, {"severity.gte=medium", true},
		{"severity.gt=medium", false}, {"severity.lte=low", false}, {"severity.lt=high", true},
		{"type=BANK_ACCOUNT_NUMBER", true}, {"type!=CREDIT_CARD_NUMBER", false}, {"type=NAME,CREDIT_CARD_NUMBER", true},
		{"category=financial", true}, {"category=Personal", false},
		{"key=exports/*", true}, {"key=exports/a.csv", true}, {"key=exp", false}, {"bucket=moontrust-*", true}, {"bucket=Moontrust-statements", true}, {"key=Exports/*", false},
		{"created=2026-07-15", true}, {"created=2026-07-14", false}, {"created.gte=2026-07-15T03:00:00Z", true}, {"created.gt=2026-07-15T03:00:00Z", false},
		{"status=open state=sealed", true}, {"status=open state=partial", false}, {"verdict=", true}, {"verdict!=", false},
	} {
		f, err := triage.ParseFilter(strings.Fields(c.terms)...)
		if err != nil {
			t.Errorf("%q: %v", c.terms, err)
			continue
		}
		if got := f.Match(s, time.Date(2026, 7, 16, 0, 0, 0, 0, time.UTC)); got != c.want {
			t.Errorf("%q selects %t, want %t", c.terms, got, c.want)
		}
	}
	for _, bad := range []string{"severity", "colour=red", "severity=blue", "bucket.gte=a", "severity.ge=low", "created=yesterday", "created!=2026-07-15", "=", ".gte=1"} {
		if _, err := triage.ParseFilter(bad); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%q: error %v, want one wrapping ErrInvalid", bad, err)
		}
	}
}
