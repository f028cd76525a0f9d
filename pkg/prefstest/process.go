// Package prefstest drives the real binaries: it builds them, starts them on a
// database and a broker of their own, kills them, and checks what they leave.
// The suites that use it are its sub-packages.
package prefstest

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience is how long a story waits for what must happen soon: everything is
// quiet 30 seconds after the last fault.
const Patience = 30 * time.Second

// startPatience covers a start under the race detector on a busy machine.
const startPatience = 60 * time.Second

var (
	building sync.Mutex
	built    = map[string]string{}
	buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "prefstest-") })
)

// Cleanup removes what was built. A TestMain calls it at the end.
func Cleanup() {
	if dir, err := buildDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
}

// Build says how commands are built.
type Build struct {
	Tags []string
	Fast bool // without the race detector, which takes most of the time
}

// Binary builds a command of this module with the race detector and these
// tags, once for the test binary, and returns its path.
func Binary(tb testing.TB, name string, tags ...string) string {
	tb.Helper()
	return Build{Tags: tags}.binary(tb, name)
}

func (b Build) binary(tb testing.TB, name string) string {
	tb.Helper()
	building.Lock()
	defer building.Unlock()
	file := strings.Join(append([]string{name}, b.Tags...), "-")
	detector := "-race"
	if b.Fast {
		file, detector = file+"-fast", "-race=false"
	}
	if path, done := built[file]; done {
		return path
	}
	dir, err := buildDir()
	require.NoError(tb, err)
	path := filepath.Join(dir, file)
	out, err := exec.CommandContext(tb.Context(), "go", "build", detector, "-tags", strings.Join(b.Tags, ","), "-o", path, "github.com/prefsd/prefsd/cmd/"+name).CombinedOutput()
	require.NoError(tb, err, "build %s: %s", file, out)
	built[file] = path
	return path
}

// Process is a running binary. It is killed at the end of the test.
type Process struct {
	Name   string
	cmd    *exec.Cmd
	out    *output
	exited chan struct{}
}

// Start runs a binary with these variables and nothing else of ours in its
// environment.
func Start(tb testing.TB, name string, env []string, args ...string) *Process {
	tb.Helper()
	return StartFile(tb, Binary(tb, name), env, args...)
}

// StartFile is like Start for a binary that is built already.
func StartFile(tb testing.TB, file string, env []string, args ...string) *Process {
	tb.Helper()
	name := filepath.Base(file)
	p := &Process{Name: name, cmd: exec.Command(file, args...), out: &output{}, exited: make(chan struct{})}
	p.cmd.Dir = tb.TempDir()
	p.cmd.Env = append(inherited(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = dieWithUs()
	require.NoError(tb, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // how it ended is read from its state
		close(p.exited)
	}()
	tb.Cleanup(func() {
		fate := p.fate()
		p.Kill()
		if tb.Failed() {
			tb.Logf("%s (%s) logged at last:\n%s", name, fate, p.Tail())
		}
		if log := p.Log(); strings.Contains(log, "DATA RACE") {
			tb.Errorf("%s raced:\n%s", name, log)
		}
	})
	return p
}

// inherited is the environment without settings of the product.
func inherited() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PREFS_") && !strings.HasPrefix(v, "OTEL_") {
			env = append(env, v)
		}
	}
	return env
}

// fate says whether the process runs, or how it ended.
func (p *Process) fate() string {
	if p.Ended() {
		return p.cmd.ProcessState.String()
	}
	return "running"
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// Freeze keeps the process from doing anything until Thaw, as a machine does
// that is out of breath.
func (p *Process) Freeze(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, p.cmd.Process.Signal(syscall.SIGSTOP))
}

// Thaw lets the process go on.
func (p *Process) Thaw(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, p.cmd.Process.Signal(syscall.SIGCONT))
}

// Terminate asks the process to end and returns its exit code.
func (p *Process) Terminate(tb testing.TB) int {
	tb.Helper()
	require.NoError(tb, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.Wait(tb)
}

// Ended says whether the process is over.
func (p *Process) Ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Wait waits for the end of the process and returns its exit code.
func (p *Process) Wait(tb testing.TB) int {
	tb.Helper()
	select {
	case <-p.exited:
	case <-time.After(Patience):
		tb.Fatalf("%s does not end:\n%s", p.Name, p.Tail())
	}
	return p.cmd.ProcessState.ExitCode()
}

// AwaitKill waits until the process ends itself, and requires that it does so
// the hard way.
func (p *Process) AwaitKill(tb testing.TB) {
	tb.Helper()
	p.Wait(tb)
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(tb, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%s ended in another way:\n%s", p.Name, p.Tail())
}

// Log is everything that the process has written.
func (p *Process) Log() string { return p.out.String() }

// Tail is the end of Log.
func (p *Process) Tail() string {
	const end = 6000
	log := p.Log()
	return log[max(0, len(log)-end):]
}

// AwaitReady waits until the URL answers 200.
func (p *Process) AwaitReady(tb testing.TB, url string) {
	tb.Helper()
	Eventually(tb, startPatience, p.Name+" gets ready", func() bool {
		select {
		case <-p.exited:
			tb.Fatalf("%s ended at its start:\n%s", p.Name, p.Tail())
		default:
		}
		return Status(url) == http.StatusOK
	})
}

// Status is what a GET is answered with; 0 if no answer comes.
func Status(url string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// Eventually polls until the condition holds.
func Eventually(tb testing.TB, within time.Duration, what string, holds func() bool) {
	tb.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("waited %s in vain: %s", within, what)
		}
	}
}

// output keeps what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
