package app

import (
	"coffer/check"
)

// CheckParts is what [check.Run] checks.
func (a *App) CheckParts() check.Parts {
	return check.Parts{
		DB: a.DB, Headers: a.Headers, Objects: a.Objects, Originals: a.Originals, Records: a.Records, Vault: a.Vault,
		Pipeline: a.Pipeline, Remedy: a.Remedy, Guard: a.Guard, Identifiers: a.Pipeline.Identifiers, LogDir: a.LogFiles(), Now: a.Now,
	}
}
