package pgtest

import (
	"testing"

	"github.com/prefsd/prefsd/pkg/devpg"
)

// StartPrivate starts a server for one test, which may stop it, kill it and
// start it again. The database that its URL names is migrated. The server is
// gone when the test ends.
func StartPrivate(tb testing.TB) *devpg.Server {
	tb.Helper()
	s, err := devpg.Start(tb.Context(), testOptions())
	if err != nil {
		tb.Fatalf("pgtest: start PostgreSQL: %v", err)
	}
	own(tb, s)
	return s
}

// StartPair starts a server as StartPrivate does, and a standby that follows it.
func StartPair(tb testing.TB) (primary, standby *devpg.Server) {
	tb.Helper()
	primary = StartPrivate(tb)
	return primary, StartStandby(tb, primary, "standby")
}

// StartStandby starts a server that follows another one, which knows it by this
// name: in synchronous_standby_names, for instance.
func StartStandby(tb testing.TB, primary *devpg.Server, name string) *devpg.Server {
	tb.Helper()
	opts := testOptions()
	opts.Settings["cluster_name"] = name
	standby, err := primary.Standby(tb.Context(), opts)
	if err != nil {
		tb.Fatalf("pgtest: start a standby: %v", err)
	}
	closing(tb, standby)
	return standby
}

// own ties a server to a test and migrates it.
func own(tb testing.TB, s *devpg.Server) {
	tb.Helper()
	closing(tb, s)
	if err := migrateURL(tb.Context(), s.URL()); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
}

// closing stops a server when the test ends.
func closing(tb testing.TB, s *devpg.Server) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("pgtest: stop PostgreSQL: %v", err)
		}
	})
}
