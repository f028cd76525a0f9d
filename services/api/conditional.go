package api

import (
	"maps"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/precondition"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// Header values of reads. A browser that two users share must not show one's
// list to the other, which is why the answer varies with the token.
var (
	cacheable = []string{"private, max-age=300"}
	varying   = []string{"Authorization, Accept-Encoding, Origin"}
)

const headerETag = "Etag" // in the spelling of net/http, which writes it so too

// quoted is a tag as headers have it.
func quoted(tag string) string { return `"` + tag + `"` }

// conditionsOf reads the preconditions of a request.
func conditionsOf(c echo.Context) (precondition.Conditions, error) {
	h := c.Request().Header
	return precondition.Parse(h[precondition.IfMatch], h[precondition.IfNoneMatch])
}

// termsOf reads what a write is subject to.
func termsOf(c echo.Context) (preferences.Terms, error) {
	q := middleware.Of(c).Query
	force, err := readFlag(q, paramForce)
	if err != nil {
		return preferences.Terms{}, err
	}
	rehearse, err := readFlag(q, paramValidateOnly)
	if err != nil {
		return preferences.Terms{}, err
	}
	conditions, err := conditionsOf(c)
	return preferences.Terms{Conditions: conditions, Force: force, Rehearse: rehearse}, err
}

// state is what the conditions of a read are about.
type state struct {
	tag      string
	exists   bool
	name     string
	modified time.Time
	header   http.Header // instead of what reads have
}

// judged answers a read whose conditions spare its body: 304, or 412 as an
// error. If done is false, the body is wanted.
func judged(c echo.Context, conditions precondition.Conditions, now state) (done bool, err error) {
	switch conditions.ForRead(now.tag, now.exists) {
	case precondition.NotModified:
		readHeaders(c, variant(c, conditions, now.tag), now.header)
		c.Response().WriteHeader(http.StatusNotModified)
		return true, nil
	case precondition.Failed:
		return true, preferences.PreconditionFailed(conditions, now.tag, now.exists, now.name, now.modified)
	default:
		return false, nil
	}
}

// readHeaders sets what reads have, and then what this one has instead.
func readHeaders(c echo.Context, tag string, instead http.Header) {
	h := c.Response().Header()
	h[headerETag] = []string{quoted(tag)}
	h[echo.HeaderCacheControl] = cacheable
	h[echo.HeaderVary] = varying
	maps.Copy(h, instead)
}

// answerRead answers a read with a body.
func answerRead(c echo.Context, tag string, body any) error {
	readHeaders(c, tag, nil)
	return answer(c, http.StatusOK, body)
}
