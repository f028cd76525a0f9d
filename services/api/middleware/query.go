package middleware

import (
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
)

// ParamUserID names the user whose list an administrator asks for.
const ParamUserID = "userId"

// Query reads the query. It is strict: a parameter that is misspelt, repeated,
// or meant for another release would change what the request means, so it must
// not be passed over.
func Query(known []string, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		raw := c.Request().URL.RawQuery
		if raw == "" {
			return next(c)
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			return fault.New(fault.Invalid, fault.ReasonInvalidField, "The query cannot be read.").Because(err).
				Violating(fault.Violation{Field: "query", Description: "must be name=value pairs, joined by & and percent-encoded"})
		}
		if caller := Of(c).Caller; caller.Subject != "" && values.Has(ParamUserID) && !caller.Has(auth.ScopeAdmin) {
			return denied(c, auth.ScopeAdmin, "Only an administrator may ask for the list of another user.")
		}
		if err := checkNames(values, known); err != nil {
			return err
		}
		Of(c).Query = values
		return next(c)
	}
}

func checkNames(values url.Values, known []string) error {
	var wrong []fault.Violation
	for name, given := range values {
		switch {
		case !slices.Contains(known, name):
			wrong = append(wrong, fault.Violation{Field: name, Description: "is not a parameter here; " + listed(known)})
		case len(given) > 1:
			wrong = append(wrong, fault.Violation{Field: name, Description: "must be given once"})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.SortFunc(wrong, func(a, b fault.Violation) int { return strings.Compare(a.Field, b.Field) })
	return fault.New(fault.Invalid, fault.ReasonInvalidField, "The query is not valid; details.fieldViolations says where.").Violating(wrong...)
}

func listed(known []string) string {
	if len(known) == 0 {
		return "there are none"
	}
	return "known are " + strings.Join(known, ", ")
}
