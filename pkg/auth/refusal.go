package auth

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/prefsd/prefsd/pkg/fault"
)

// refusals says in safe words what the errors of a token mean; the first that
// fits counts.
var refusals = []struct {
	cause   error
	message string
}{
	{errCritical, "The token has critical extensions that are not understood."},
	{errType, "The token is not an access token."},
	{errUnknownKey, "The token is not signed by a trusted key."},
	{jwt.ErrTokenSignatureInvalid, "The token is not signed by a trusted key."},
	{jwt.ErrTokenMalformed, "The token is not a well-formed JWT."},
	{jwt.ErrTokenRequiredClaimMissing, "The token lacks exp, iss or aud."},
	{jwt.ErrTokenExpired, "The token has expired."},
	{jwt.ErrTokenNotValidYet, "The token is not valid yet."},
	{jwt.ErrTokenUsedBeforeIssued, "The token was issued in the future."},
	{jwt.ErrTokenInvalidAudience, "The token is not meant for this service."},
	{jwt.ErrTokenInvalidIssuer, "The token comes from an issuer that is not trusted."},
	{errSubject, "The token names no usable subject."},
}

// explain turns the error of a token into a fault. Faults that say that the keys
// are out of reach pass.
func explain(err error) error {
	if fault.CodeOf(err) == fault.Unavailable {
		return err
	}
	for _, r := range refusals {
		if errors.Is(err, r.cause) {
			return refuse(err, r.message)
		}
	}
	return refuse(err, "The token is not valid.")
}
