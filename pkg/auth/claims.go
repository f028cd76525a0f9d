package auth

import (
	"errors"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/prefsd/prefsd/pkg/ijson"
)

const maxSubject = 255

// maxDate is the end of the year 9999; later times overflow on their way through
// the libraries that compare them.
const maxDate = 253402300799

var errSubject = errors.New("sub must have 1 to 255 bytes without control characters")

// claims are those that are looked at. They are read strictly: encoding/json would
// take "SUB" for "sub" and replace what is not UTF-8, so that two subjects could
// become one.
type claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.ClaimStrings `json:"aud"`
	Expires   *numericDate     `json:"exp"`
	NotBefore *numericDate     `json:"nbf"`
	IssuedAt  *numericDate     `json:"iat"`
	Scope     string           `json:"scope"`
	Scp       jwt.ClaimStrings `json:"scp"` // some providers send a list, some a string
}

// plainClaims has no UnmarshalJSON that would call itself.
type plainClaims claims

// UnmarshalJSON implements json.Unmarshaler.
func (c *claims) UnmarshalJSON(data []byte) error {
	return ijson.Decode(data, (*plainClaims)(c), ijson.AllowUnknown(), ijson.NullIsAbsent())
}

// Validate is called by the library after its own checks.
func (c *claims) Validate() error {
	return CheckSubject(c.Subject)
}

// CheckSubject refuses what cannot be the subject of a token: it has 1 to 255
// bytes of UTF-8 without control characters.
func CheckSubject(s string) error {
	if s == "" || len(s) > maxSubject || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return errSubject
	}
	return nil
}

// GetExpirationTime implements jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires.date() }

// GetIssuedAt implements jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.IssuedAt.date() }

// GetNotBefore implements jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.NotBefore.date() }

// GetIssuer implements jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject implements jwt.Claims.
func (c *claims) GetSubject() (string, error) { return c.Subject, nil }

// GetAudience implements jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.Audience, nil }

// principal copies what is kept: the strings of claims are parts of the token's
// payload, which must not stay in memory.
func (c *claims) principal() Principal {
	var scopes []string
	for _, granted := range append([]string{c.Scope}, c.Scp...) {
		for _, name := range strings.Fields(granted) {
			scopes = append(scopes, strings.Clone(name))
		}
	}
	return Principal{Subject: strings.Clone(c.Subject), Scopes: NewScopes(scopes...)}
}

// numericDate is a time in seconds since 1970.
type numericDate float64

func (d *numericDate) date() (*jwt.NumericDate, error) {
	if d == nil {
		return nil, nil //nolint:nilnil // the library's way of saying that the claim is absent
	}
	seconds := float64(*d)
	if seconds < 0 || seconds > maxDate {
		return nil, jwt.ErrInvalidType
	}
	whole, fraction := math.Modf(seconds)
	return &jwt.NumericDate{Time: time.Unix(int64(whole), int64(fraction*float64(time.Second)))}, nil
}
