package api

import (
	"fmt"
	"net/http"

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
		kept.Body = append(body, '\n')
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
