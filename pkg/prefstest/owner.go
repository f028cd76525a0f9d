package prefstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Owner is the service that owns the accounts: it has every one that it has not
// lost. The zero value answers.
type Owner struct {
	URL string // where it answers

	mu   sync.Mutex
	lost map[string]bool
	mood http.HandlerFunc
	hits int
}

// NewOwner serves until the end of the test.
func NewOwner(tb testing.TB) *Owner {
	tb.Helper()
	o := &Owner{}
	server := httptest.NewServer(o)
	tb.Cleanup(server.Close)
	o.URL = server.URL
	return o
}

// Env makes a consumer ask this owner, and believe it as soon as it says a
// thing twice.
func (o *Owner) Env() []string {
	return []string{"PREFS_DIRECTORY_URL=" + o.URL + "/accounts", "PREFS_RECONCILE_CONFIRM_AFTER=1ms"}
}

// Lose makes accounts unknown.
func (o *Owner) Lose(accounts ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost == nil {
		o.lost = map[string]bool{}
	}
	for _, a := range accounts {
		o.lost[a] = true
	}
}

// Behave replaces every answer; nil makes it well again.
func (o *Owner) Behave(mood http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mood, o.hits = mood, 0
}

// Hits is how often it was asked since it behaves so.
func (o *Owner) Hits() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hits
}

// ServeHTTP implements http.Handler.
func (o *Owner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.hits++
	mood := o.mood
	o.mu.Unlock()
	if mood == nil {
		mood = o.Answer
	}
	mood(w, r)
}

// Disown says of every account that there is no such one.
func (o *Owner) Disown(w http.ResponseWriter, r *http.Request) {
	o.Lose(strings.Split(r.URL.Query().Get("ids"), ",")...)
	o.Answer(w, r)
}

// Answer is what it says when it is well.
func (o *Owner) Answer(w http.ResponseWriter, r *http.Request) {
	type account struct {
		ID string `json:"id"`
	}
	var out struct {
		Accounts []account `json:"accounts"`
		NotFound []string  `json:"notFound"`
	}
	out.Accounts, out.NotFound = []account{}, []string{}
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
		if o.lost[id] {
			out.NotFound = append(out.NotFound, id)
		} else {
			out.Accounts = append(out.Accounts, account{id})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // whoever asked may have left
}
