// Package auth turns a bearer token into a principal. Tokens are JWTs signed by
// the keys of an identity provider, or in development by a key of our own.
package auth

import (
	"slices"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Scopes that calls other than those on one's own lists need.
const (
	ScopeSystem = "preferences.system"
	ScopeAdmin  = "preferences.admin"
)

// ReasonInvalidToken says that a token is missing or that nobody vouches for it.
const ReasonInvalidToken fault.Reason = "INVALID_TOKEN"

// Principal is the verified caller. It may be shared between requests and never
// changes.
type Principal struct {
	// Subject is the user id: 1 to 255 bytes of text without control characters.
	Subject string
	// Scopes is what the caller was granted.
	Scopes Scopes
}

// Has reports whether the caller may do what the scope stands for.
func (p Principal) Has(scope string) bool { return p.Scopes.Has(scope) }

// Scopes is an immutable set of scopes.
type Scopes struct{ names []string }

// NewScopes returns the set of the names.
func NewScopes(names ...string) Scopes {
	sorted := slices.Sorted(slices.Values(names))
	return Scopes{names: slices.Compact(sorted)}
}

// Has reports whether the set grants the scope. An administrator may do what the
// system may.
func (s Scopes) Has(scope string) bool {
	return slices.Contains(s.names, scope) || (scope == ScopeSystem && slices.Contains(s.names, ScopeAdmin))
}

// Names lists the set in alphabetical order.
func (s Scopes) Names() []string { return append([]string{}, s.names...) }

// refuse is the one shape of every refusal: the message is safe to show, the
// cause is for logs.
func refuse(cause error, message string) error {
	f := fault.New(fault.Unauthenticated, ReasonInvalidToken, "%s", message)
	if cause == nil {
		return f
	}
	return f.Because(cause)
}
