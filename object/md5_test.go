package object_test

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"coffer/object"
)

// TestMD5InStrictFIPSMode runs itself in the mode that forbids MD5; the mode is fixed when a process starts.
func TestMD5InStrictFIPSMode(t *testing.T) {
	const text = "an object"
	if os.Getenv("GODEBUG") == "fips140=only" {
		h := object.MD5()
		fmt.Fprint(h, text)
		fmt.Printf("%x\n", h.Sum(nil))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMD5InStrictFIPSMode$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("%x\nPASS\n", md5.Sum([]byte(text))); err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}
