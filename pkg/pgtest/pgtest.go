// Package pgtest gives each test a database of its own, cloned from a template
// that is migrated once per test binary.
//
// The databases live on the server that PREFS_TEST_DATABASE_URL names, else on
// a temporary one that starts with the first test that asks. A package that uses
// pgtest has a TestMain that calls Main, which also takes everything down again.
package pgtest

import (
	"context"
	"testing"
	"time"
)

// cleanupWithin bounds work that goes on after the context of a test has ended.
const cleanupWithin = 30 * time.Second

// New returns the URL of a fresh database with the schema of the product. It is
// dropped when the test ends, whoever is still connected.
func New(tb testing.TB) string {
	tb.Helper()
	return clone(tb, (*server).template)
}

// NewEmpty returns the URL of a fresh database without any schema.
func NewEmpty(tb testing.TB) string {
	tb.Helper()
	return clone(tb, func(*server, context.Context) (string, error) { return "template0", nil })
}

func clone(tb testing.TB, source func(*server, context.Context) (string, error)) string {
	tb.Helper()
	s, err := shared.server(tb.Context())
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	template, err := source(s, tb.Context())
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	name, err := s.create(tb.Context(), template)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), cleanupWithin)
		defer cancel()
		if err := s.drop(ctx, name); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
	return s.urlOf(name)
}
