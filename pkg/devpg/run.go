package devpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	readyWithin   = 60 * time.Second
	readyInterval = 4 * time.Millisecond
	// startWithin bounds the repeated tries of a start that something is in the way of.
	startWithin = 15 * time.Second
)

var (
	// errPortTaken is a start that lost its port to another program.
	errPortTaken = errors.New("the port is taken")
	// errLeftovers is a start that came before the last process of a crashed
	// server had noticed that it is alone.
	errLeftovers = errors.New("processes of a crashed server still run")
)

// Start starts a stopped server again, on the same data and the same port. It
// does nothing while the server runs.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adopted || s.proc != nil && s.proc.alive() {
		return nil
	}
	proc, err := backoff.Retry(ctx, func() (*process, error) { return s.try(ctx) }, backoff.WithMaxElapsedTime(startWithin))
	if err != nil {
		return err
	}
	admin := connString(s.port, s.password, defaultDatabase)
	if err := createDatabase(ctx, admin, s.opts.Database); err != nil {
		return errors.Join(err, proc.stop())
	}
	s.proc = proc
	return nil
}

// try starts the server once. The first try that works settles the port: between
// looking for a free one and using it, another program may take it.
func (s *Server) try(ctx context.Context) (*process, error) {
	port := s.port
	if port == 0 {
		var err error
		if port, err = freePort(ctx); err != nil {
			return nil, backoff.Permanent(err)
		}
	}
	proc, err := s.startProcess(ctx, port)
	again := errors.Is(err, errLeftovers) || s.port == 0 && errors.Is(err, errPortTaken)
	if err != nil && !again {
		return nil, backoff.Permanent(err)
	}
	if err == nil {
		s.port = port
	}
	return proc, err
}

func (s *Server) startProcess(ctx context.Context, port int) (*process, error) {
	// The server outlives ctx: Stop ends it, or the end of this process does.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.bin.dir, "postgres"), s.arguments(port)...) //nolint:gosec // the path is what the caller asked for or what was found
	cmd.Dir, cmd.Env = s.dir.path, environment()
	cmd.SysProcAttr = s.account.serverAttr()
	s.log.reset()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	proc, err := launch(cmd)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	if err := s.awaitReady(ctx, proc); err != nil {
		return nil, errors.Join(err, proc.stop())
	}
	return proc, nil
}

func (s *Server) arguments(port int) []string {
	settings := map[string]string{
		"listen_addresses": loopback,
		"port":             strconv.Itoa(port),
		// Without a socket there is no directory to own, and no limit of 107 bytes on its name.
		"unix_socket_directories": "",
		"logging_collector":       "off",
	}
	if s.dir.temporary {
		// Commits still reach the operating system, so they outlive Kill.
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	maps.Copy(settings, s.opts.Settings)
	args := []string{"-D", s.dir.path}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// awaitReady watches the file that the server keeps about itself. A crash leaves
// one behind that says ready, so it has to carry the number of our own child.
func (s *Server) awaitReady(ctx context.Context, proc *process) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		if f, err := readPIDFile(s.dir.path); err == nil && f.pid == proc.pid() && f.status == statusReady {
			return nil
		}
		select {
		case <-tick.C:
		case <-proc.exited:
			return s.startFailure()
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w\n%s", ctx.Err(), s.log)
		}
	}
}

func (s *Server) startFailure() error {
	log := s.log.String()
	switch {
	case strings.Contains(log, "could not create any TCP/IP sockets"):
		return fmt.Errorf("start postgres: %w\n%s", errPortTaken, log)
	case strings.Contains(log, "pre-existing shared memory block"):
		return fmt.Errorf("start postgres: %w\n%s", errLeftovers, log)
	default:
		return fmt.Errorf("postgres ended before it was ready\n%s", log)
	}
}

// Stop shuts the server down: at once but cleanly, its clients are cut off. The
// data stays for Start. A server that was adopted goes on.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	err := s.proc.stop()
	s.proc = nil
	return err
}

// Kill ends the server like a crash: nothing is flushed, the next start recovers.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	err := s.proc.kill()
	s.proc = nil
	return err
}

// freePort picks a free port below those that the system hands out to outgoing
// connections. Otherwise a client that dials a stopped server could be given the
// server's own port as its source.
func freePort(ctx context.Context) (int, error) {
	const first, count, tries = 15000, 17000, 64
	for range tries {
		port := first + rand.IntN(count)
		if portFree(ctx, port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port among %d tries", tries)
}

func portFree(ctx context.Context, port int) bool {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
