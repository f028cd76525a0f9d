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

// own ties a server to a test and migrates it.
func own(tb testing.TB, s *devpg.Server) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("pgtest: stop PostgreSQL: %v", err)
		}
	})
	if err := migrateURL(tb.Context(), s.URL()); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
}
