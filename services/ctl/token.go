package ctl

import (
	"cmp"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prefsd/prefsd/pkg/auth"
)

// defaultDir is where make run keeps its things.
const defaultDir = ".dev"

type tokenCommand struct {
	Subject  string        `name:"subject" env:"-" required:"" help:"Whom the token stands for: a user id."`
	Scopes   []string      `name:"scope" env:"-" help:"What it opens beside the subject's own lists: preferences.system, preferences.admin."`
	Lifetime time.Duration `name:"lifetime" env:"-" default:"12h" help:"How long it is valid."`
	KeyFile  string        `name:"auth-dev-key-file" help:"Development key to sign with; empty means the one in --dir."`
	Issuer   string        `name:"auth-issuer" help:"Issuer that it names; empty means that of development keys."`
	Audience string        `name:"auth-audience" help:"Audience that it names; empty means that of development keys."`
}

// Validate refuses what no service would accept.
func (c *tokenCommand) Validate() error {
	if c.Lifetime <= 0 {
		return fmt.Errorf("--lifetime must be positive, not %s", c.Lifetime)
	}
	for _, scope := range c.Scopes {
		if scope != auth.ScopeSystem && scope != auth.ScopeAdmin {
			return fmt.Errorf("--scope must be %s or %s, not %q", auth.ScopeSystem, auth.ScopeAdmin, scope)
		}
	}
	if err := auth.CheckSubject(c.Subject); err != nil {
		return fmt.Errorf("--subject: %w", err)
	}
	return nil
}

// Run signs a token.
func (c *tokenCommand) Run(out *output, g *grammar) error {
	path := cmp.Or(c.KeyFile, filepath.Join(cmp.Or(g.Dir, defaultDir), KeyFile))
	key, err := auth.LoadDevKey(path)
	if err != nil {
		return fmt.Errorf("%w (`make run` makes a key in its directory; --auth-dev-key-file names another)", err)
	}
	token, err := key.Sign(auth.Grant{
		Subject: c.Subject, Scopes: c.Scopes, Lifetime: c.Lifetime, Issuer: c.Issuer, Audience: c.Audience,
	})
	if err != nil {
		return err
	}
	return out.say(map[string]any{"token": token}, token)
}
