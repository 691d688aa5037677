package main

import (
	"crypto/fips140"
	"runtime"
	"runtime/debug"

	"coffer/app"
)

type versionCmd struct{}

// Version of the release; a build from a checkout also says its revision.
const version = "0.1.0"

func (versionCmd) Run(e *env) error {
	revision, modified := "", false
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	if e.JSON {
		return e.out.element(map[string]any{
			"version": version, "revision": revision, "modified": modified, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			"homeFormat": app.HomeFormat, "fips140": fips140.Enabled(),
		})
	}
	if revision != "" {
		revision = " (" + revision[:12] + ")"
	}
	e.out.say("coffer %s%s, %s %s/%s, home format %d, FIPS 140 mode %t", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH,
		app.HomeFormat, fips140.Enabled())
	return nil
}
