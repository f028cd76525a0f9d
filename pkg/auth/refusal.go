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
	{errCritical, "the token has critical extensions that are not understood"},
	{errType, "the token is not an access token"},
	{errUnknownKey, "the token is not signed by a trusted key"},
	{jwt.ErrTokenSignatureInvalid, "the token is not signed by a trusted key"},
	{jwt.ErrTokenMalformed, "the token is not a well-formed JWT"},
	{jwt.ErrTokenRequiredClaimMissing, "the token lacks exp, iss or aud"},
	{jwt.ErrTokenExpired, "the token has expired"},
	{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
	{jwt.ErrTokenUsedBeforeIssued, "the token was issued in the future"},
	{jwt.ErrTokenInvalidAudience, "the token is not meant for this service"},
	{jwt.ErrTokenInvalidIssuer, "the token comes from an issuer that is not trusted"},
	{errSubject, "the token names no usable subject"},
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
	return refuse(err, "the token is not valid")
}
