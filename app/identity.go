package app

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"coffer"
	"coffer/identity"
)

// openIdentity builds who is asking. The secret of a provider's client is read from its file, so that the configuration can be shown.
func (a *App) openIdentity() error {
	c := a.Config.Identity
	if p := c.Provider; p != nil && p.ClientSecretFile != "" {
		b, err := os.ReadFile(under(a.Home, p.ClientSecretFile))
		if err != nil {
			return fmt.Errorf("the secret of the provider's client: %w: %w", coffer.ErrUnavailable, err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n"))
		with := *p
		with.ClientSecret = strings.TrimSpace(string(line))
		c.Provider = &with
	}
	a.Identity = &identity.Identity{DB: a.DB, MAC: a.MAC, Guard: a.Guard, Config: c, Now: a.Now}
	return nil
}
