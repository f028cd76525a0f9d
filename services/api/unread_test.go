package api_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// deaf is a connection whose other end is gone.
type deaf struct{ header http.Header }

func (d deaf) Header() http.Header       { return d.header }
func (d deaf) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
func (d deaf) WriteHeader(int)           {}

func TestAnAnswerThatNobodyReadsIsNoFailureOfOurs(t *testing.T) {
	w := begin(t)
	var seen middleware.Sample
	h := api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier(t), Log: slog.New(slog.NewJSONHandler(w.logs, nil)),
		Record: func(s middleware.Sample) { seen = s }, Timeout: 10 * time.Second,
	})
	r := httptest.NewRequest(http.MethodGet, "/preferences?domain=accounts", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token(t, "alice"))
	h.ServeHTTP(deaf{http.Header{}}, r)
	require.NotContains(t, w.logs.String(), "ERROR")
	require.NotEmpty(t, seen.Route)
}
