package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// shared is the server of this test binary.
var shared lazy

// lazy starts the server with the first test that needs it.
type lazy struct {
	mu      sync.Mutex
	open    bool // between the begin and the end of Run
	started *server
	err     error
}

func (l *lazy) server(ctx context.Context) (*server, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		return nil, errors.New("the package of this test needs a TestMain that calls pgtest.Main")
	}
	if l.started == nil && l.err == nil {
		// The server outlives the test that happens to come first.
		l.started, l.err = startServer(context.WithoutCancel(ctx), os.Getenv("PREFS_TEST_DATABASE_URL"))
	}
	return l.started, l.err
}

func (l *lazy) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
}

func (l *lazy) end(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
	if l.started == nil {
		return nil
	}
	err := l.started.close(ctx)
	l.started = nil
	return err
}

// Main runs the tests of a package, takes the test server down, looks for
// goroutines that are left and exits. TestMain has to do nothing else.
func Main(m *testing.M, opts ...goleak.Option) {
	goleak.VerifyTestMain(tests{m}, opts...)
}

// Run runs the tests and takes the test server down. It is for a TestMain that
// has more to do before it exits; others call Main.
func Run(m *testing.M) int { return tests{m}.Run() }

// tests puts the life of the server around the run, so that the search for
// goroutines comes after both.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	shared.begin()
	code := t.m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupWithin)
	defer cancel()
	if err := shared.end(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "pgtest: %v\n", err)
		return max(code, 1)
	}
	return code
}
