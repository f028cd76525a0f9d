package devpg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Standby starts a server that follows this one by streaming replication and
// answers reads. It needs pg_basebackup beside postgres, which downloaded
// binaries lack. The two have one password.
func (s *Server) Standby(ctx context.Context, opts Options) (*Server, error) {
	if s.BinDir() == "" {
		return nil, errors.New("a standby follows a server that was started here")
	}
	opts.BinDir = s.BinDir()
	return start(ctx, opts, s)
}

// Promote ends a standby's following: from then on it takes writes.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URLOf(defaultDatabase))
	if err != nil {
		return fmt.Errorf("connect to promote: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var done bool
	if err := conn.QueryRow(ctx, `select pg_promote()`).Scan(&done); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if !done {
		return fmt.Errorf("the standby was not promoted in time\n%s", s.Log())
	}
	return nil
}

// copyOf fills a directory with what a primary holds, and with the order to
// follow it.
func copyOf(ctx context.Context, primary *Server, dir string, acc *account) error {
	if err := acc.give(dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(primary.BinDir(), "pg_basebackup"), "-D", dir, "-R", "-X", "stream", "-c", "fast", "--no-sync", //nolint:gosec // the path is that of the binaries in use
		"-h", loopback, "-p", strconv.Itoa(primary.Port()), "-U", superuser)
	// Others can read the arguments of a program, so the password is not there.
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", append(environment(), "PGPASSWORD="+primary.password), acc.attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}
