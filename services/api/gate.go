package api

import (
	"net/http"
	"sync/atomic"
)

// gate is a handler that changes while it serves: a process that waits for its
// database answers 503 until it has one.
type gate struct{ current atomic.Pointer[http.Handler] }

func newGate(h http.Handler) *gate {
	g := &gate{}
	g.set(h)
	return g
}

func (g *gate) set(h http.Handler) { g.current.Store(&h) }

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*g.current.Load()).ServeHTTP(w, r)
}
