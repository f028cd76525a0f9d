package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/services/ctl"
)

// environment is what has been started so far.
type environment struct {
	cfg Config
	out io.Writer
	log *slog.Logger

	key           *auth.DevKey
	sockets       []net.Listener // by the indexes of places
	databaseURL   string
	databaseEnded <-chan struct{} // nil, and never ready, for a server that is not ours
	broker        *broker         // nil if the brokers are somebody else's
	kafka         config.Kafka
	topics        config.Topics
	parts         *parts

	closers []func() error // the last is called first
}

// tokenLifetime is longer than anybody leaves an environment running.
const tokenLifetime = 30 * 24 * time.Hour

func (e *environment) onClose(fn func() error) { e.closers = append(e.closers, fn) }

func (e *environment) close() error {
	var found []error
	for _, fn := range slices.Backward(e.closers) {
		found = append(found, fn())
	}
	return errors.Join(found...)
}

// openDir makes the directory ours. What it says about an earlier run goes first:
// nobody shall be sent to parts that have stopped.
func (e *environment) openDir(context.Context) error {
	// Passable for others, because root's PostgreSQL runs as another user; what
	// is secret in it is a file that only its owner can read.
	if err := os.MkdirAll(e.cfg.Dir, 0o755); err != nil { //nolint:gosec // see above
		return fmt.Errorf("make the directory of the environment: %w", err)
	}
	unlock, err := lockDir(e.cfg.Dir)
	if err != nil {
		return err
	}
	e.onClose(unlock)
	if err := ctl.RemoveEnvironment(e.cfg.Dir); err != nil {
		return err
	}
	e.key, err = auth.EnsureDevKey(e.keyFile()) //nolint:contextcheck // it reads or writes one small file
	return err
}

func (e *environment) keyFile() string { return filepath.Join(e.cfg.Dir, ctl.KeyFile) }

// dataDir returns where a part keeps its data, "" if it is to keep none.
func (e *environment) dataDir(part string) string {
	if e.cfg.Ephemeral {
		return ""
	}
	return filepath.Join(e.cfg.Dir, part)
}

// accountsFile returns the file of the demo accounts, which always need one.
func (e *environment) accountsFile() (string, error) {
	const name = "accounts.json"
	if !e.cfg.Ephemeral {
		return filepath.Join(e.cfg.Dir, name), nil
	}
	dir, err := e.temporaryDir("accounts")
	return filepath.Join(dir, name), err
}

// brokerDir returns where the broker keeps its logs: without one, a broker that is
// stopped and started again would have forgotten all topics.
func (e *environment) brokerDir() (string, error) {
	if dir := e.dataDir("kafka"); dir != "" {
		return dir, nil
	}
	return e.temporaryDir("kafka")
}

// temporaryDir returns a directory that goes with the environment.
func (e *environment) temporaryDir(part string) (string, error) {
	dir, err := os.MkdirTemp("", "prefsd-"+part+"-")
	if err != nil {
		return "", fmt.Errorf("make a temporary directory: %w", err)
	}
	e.onClose(func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// openPorts takes the addresses of all parts before anything slow begins, so
// that one which is taken is said at once.
func (e *environment) openPorts(ctx context.Context) error {
	for _, p := range e.cfg.places() {
		l, err := p.listen(ctx)
		if err != nil {
			return err
		}
		e.sockets = append(e.sockets, l)
		e.onClose(func() error { return closed(l.Close()) })
	}
	return nil
}

// closed ignores that the part which was given a socket has closed it.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

func (e *environment) url(index int) string { return "http://" + e.sockets[index].Addr().String() }

// describe is what dev.json says.
func (e *environment) describe() (ctl.Environment, error) {
	tokens, err := e.sign()
	return ctl.Environment{
		APIURL: e.url(placeAPI), AdminURL: e.url(placeAdmin), ConsumerAdminURL: e.url(placeConsumerAdmin), AccountsURL: e.url(placeAccounts),
		WebURL: e.url(placeWeb), ControlURL: e.url(placeControl), Brokers: e.kafka.Brokers, DatabaseURL: e.databaseURL, Tokens: tokens,
	}, err
}

// sign returns tokens for whoever wants to try something.
func (e *environment) sign() (ctl.Tokens, error) {
	var out ctl.Tokens
	for _, t := range []struct {
		into    *string
		subject string
		scopes  []string
	}{
		{&out.Alice, "alice", nil},
		{&out.Bob, "bob", nil},
		{&out.System, "system", []string{auth.ScopeSystem}},
		{&out.Admin, "admin", []string{auth.ScopeAdmin}},
	} {
		token, err := e.key.Sign(auth.Grant{Subject: t.subject, Scopes: t.scopes, Lifetime: tokenLifetime})
		if err != nil {
			return ctl.Tokens{}, fmt.Errorf("sign the token of %s: %w", t.subject, err)
		}
		*t.into = token
	}
	return out, nil
}
