package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// reply is the answer to a write before it is spelled.
type reply struct {
	status int
	header map[string]string
	body   any // nil: none
}

// itemReply is the answer to a write of one item.
func itemReply(status int, it preferences.Item, domain string) reply {
	tag := it.ETag()
	return reply{status, map[string]string{headerETag: quoted(tag)}, preferenceJSON{it, domain, tag}}
}

// listReply is the answer to a write of a list.
func listReply(res preferences.Result) reply {
	tag := res.List.ETag()
	return reply{http.StatusOK, map[string]string{headerETag: quoted(tag)}, replacedJSON{res, tag}}
}

// change does what every write has in common: it happens once for a caller who
// wants that, and its answer is spelled from what it did, now or the first time.
func change(c echo.Context, do func(preferences.By) (preferences.Result, error), render func(preferences.Result) reply) error {
	by := byOf(c)
	if minimal(c) {
		render = briefly(render)
	}
	by.Once = onceOf(c, render)
	res, err := do(by)
	if err != nil {
		return err
	}
	middleware.Of(c).Skipped = len(res.Skipped)
	if res.Answer != nil {
		return answerAgain(c, *res.Answer)
	}
	out := render(res)
	setHeaders(c, out.header)
	if out.body == nil {
		return c.NoContent(out.status)
	}
	return answer(c, out.status, out.body)
}

// Preferences of RFC 7240 that are known here.
const (
	headerPreferenceApplied = "Preference-Applied"
	preferReturn            = "return"
	preferAsync             = "respond-async"
)

// minimal says whether the caller wants to know no more than that it was done.
// Of a rehearsal the answer is all there is.
func minimal(c echo.Context) bool {
	if middleware.Of(c).Query.Get(paramValidateOnly) == "true" {
		return false
	}
	value, _ := preferenceOf(c, preferReturn)
	return strings.EqualFold(value, "minimal")
}

// preferenceOf returns the value of a preference; the first one counts.
func preferenceOf(c echo.Context, wanted string) (value string, is bool) {
	for _, line := range c.Request().Header["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if strings.EqualFold(strings.TrimSpace(name), wanted) {
				return strings.Trim(strings.TrimSpace(value), `"`), true
			}
		}
	}
	return "", false
}

// briefly leaves the body of an answer out, and says so.
func briefly(render func(preferences.Result) reply) func(preferences.Result) reply {
	return func(res preferences.Result) reply {
		out := render(res)
		if out.body != nil {
			out.status, out.body = http.StatusNoContent, nil
			out.header[headerPreferenceApplied] = "return=minimal"
		}
		return out
	}
}

// onceOf is the wish that a write happens once; nil: the caller has none.
func onceOf(c echo.Context, render func(preferences.Result) reply) *preferences.Once {
	key := middleware.Of(c).IdempotencyKey
	if key == "" {
		return nil
	}
	return &preferences.Once{Key: key, Render: func(res preferences.Result) (preferences.Answer, error) {
		out := render(res)
		kept := preferences.Answer{Status: out.status, Header: out.header}
		if out.body == nil {
			return kept, nil
		}
		body, err := encode(nil, out.body)
		if err != nil {
			return preferences.Answer{}, fmt.Errorf("encode the answer: %w", err)
		}
		kept.Body = body
		return kept, nil
	}}
}

// answerAgain answers with what is kept.
func answerAgain(c echo.Context, kept preferences.Answer) error {
	setHeaders(c, kept.Header)
	if len(kept.Body) == 0 {
		return c.NoContent(kept.Status)
	}
	return send(c, kept.Status, typeJSON, kept.Body)
}

func setHeaders(c echo.Context, header map[string]string) {
	h := c.Response().Header()
	for name, value := range header {
		h[name] = []string{value}
	}
}
