package api

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteText writes the certificate for people to read and print.
func (c *Certificate) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(k, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", k, fmt.Sprintf(format, args...)) }
	fmt.Fprintf(t, "CERTIFICATE OF REMOVAL\n\n")
	row("object", "s3://%s/%s", c.Object.Bucket, c.Object.Key)
	row("plan", "%s (%s, %s)", c.Plan, c.Action, c.State)
	row("planned", "%s", c.Planned.Format(time.RFC3339))
	row("applied", "%s", c.Applied.Format(time.RFC3339))
	if !c.Ended.IsZero() {
		row(c.State, "%s", c.Ended.Format(time.RFC3339))
	}
	row("places", "%d, of which %d beyond Macie's list", c.Values, c.BeyondMacie)
	for _, k := range slices.Sorted(maps.Keys(c.Types)) {
		row("", "%d %s", c.Types[k], k)
	}
	row("state", "%s", c.Clean)
	row("verified", "%t", c.Verified)
	for i, r := range c.Residual {
		k := ""
		if i == 0 {
			k = "remaining copies"
		}
		row(k, "%s", r)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Left)) {
		row("left", "%d %s", c.Left[k], k)
	}
	if c.Possible > 0 {
		row("look-alikes", "%d places merely look alike and were not touched", c.Possible)
	}
	row("original", "%s", c.Original)
	if !c.Unopenable.IsZero() {
		row("not openable from", "%s", c.Unopenable.Format(time.RFC3339))
	}
	row("vault", "%s", c.Vault)
	if c.Object.Removed {
		row("bytes after", "none: the object was removed")
	} else {
		row("bytes after", "%d, SHA-256 %s", c.Object.SizeAfter, c.Object.SHA256After)
	}
	row("bytes before", "%d, keyed digest %s", c.Object.SizeBefore, c.Object.DigestBefore)
	for _, f := range c.Findings {
		row("finding", "%s %s", f.Finding, f.Status)
		if f.Closing != nil {
			row("", "disposition %s; authentication data %t; origin: %s; corrective action: %s",
				f.Closing.Disposition, f.Closing.AuthenticationData, f.Closing.Origin, f.Closing.CorrectiveAction)
		}
		if f.Note != "" {
			row("", "%s", f.Note)
		}
	}
	for i, l := range c.Log {
		k := ""
		if i == 0 {
			k = "log"
		}
		row(k, "%s", l)
	}
	fmt.Fprintf(t, "\n%s", c.Checkpoint)
	return t.Flush()
}
