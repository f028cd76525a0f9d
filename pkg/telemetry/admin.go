package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// checkTimeout is shorter than what orchestrators wait for a probe by default, so
// that they get an answer rather than none.
const checkTimeout = 800 * time.Millisecond

// Check is one thing that a process needs in order to do its work.
type Check struct {
	Name  string
	Ready func(ctx context.Context) error
}

// NotReadyError names what a process waits for. Reasons are left out: they hold
// addresses and the words of other systems.
type NotReadyError struct {
	Waiting []string
	cause   error
}

// Error implements error; unlike the answer, it has the reasons.
func (e *NotReadyError) Error() string {
	return "not ready: " + strings.Join(e.Waiting, ", ") + ": " + e.cause.Error()
}

// Unwrap returns the reasons.
func (e *NotReadyError) Unwrap() error { return e.cause }

// All is ready when every check is. It asks them at the same time; whoever does
// not answer in time is not ready.
func All(checks ...Check) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		type answer struct {
			name string
			err  error
		}
		answers := make(chan answer, len(checks))
		for _, c := range checks {
			go func() { answers <- answer{c.Name, c.Ready(ctx)} }()
		}
		var missing NotReadyError
		var causes []error
		for range checks {
			if a := <-answers; a.err != nil {
				missing.Waiting = append(missing.Waiting, a.name)
				causes = append(causes, a.err)
			}
		}
		if len(causes) == 0 {
			return nil
		}
		slices.Sort(missing.Waiting)
		missing.cause = errors.Join(causes...)
		return &missing
	}
}

// Ask says whether all is well; an error says why not.
type Ask func(ctx context.Context) error

// AdminHandler serves /livez, /readyz and /metrics for orchestrators and
// scrapers. It belongs on an address that callers of the API cannot reach.
func AdminHandler(alive, ready Ask, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", answerTo(alive, "alive", "stuck"))
	mux.HandleFunc("GET /readyz", answerTo(ready, "ready", "not ready"))
	mux.Handle("GET /metrics", metrics)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func answerTo(ask Ask, yes, no string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := ask(r.Context())
		if err == nil {
			answer(w, http.StatusOK, statusJSON{Status: yes})
			return
		}
		body := statusJSON{Status: no}
		if missing, ok := errors.AsType[*NotReadyError](err); ok {
			body.Waiting = missing.Waiting
		}
		answer(w, http.StatusServiceUnavailable, body)
	}
}

type statusJSON struct {
	Status  string   `json:"status"`
	Waiting []string `json:"waiting,omitempty"`
}

func answer(w http.ResponseWriter, status int, body statusJSON) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a prober that has hung up needs no answer
}
