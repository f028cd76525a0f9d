package api

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// item answers GET /preferences/{id}.
func (s *server) item(c echo.Context) error {
	conditions, err := conditionsOf(c)
	if err != nil {
		return err
	}
	id, err := idOf(c)
	if err != nil {
		return err
	}
	it, domain, err := s.prefs.Item(c.Request().Context(), userOf(c), id)
	if err != nil {
		return err
	}
	now := state{tag: it.ETag(), exists: true, name: resourceName(it.ID), modified: it.UpdateTime}
	if done, err := judged(c, conditions, now); done || err != nil {
		return err
	}
	return answerRead(c, now.tag, preferenceJSON{it, domain, now.tag})
}

// create answers POST /preferences.
func (s *server) create(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	in, form := decode[itemInput](c)
	if form != nil {
		return refusal(form, s.prefs.CheckCreate(in.domain(), in.input()))
	}
	return change(c, func(by preferences.By) (preferences.Result, error) {
		return s.prefs.Create(c.Request().Context(), userOf(c), in.domain(), by, terms, in.input())
	}, func(res preferences.Result) reply {
		it := res.List.Of(in.EntityID)
		out := itemReply(http.StatusCreated, it, res.List.Domain)
		out.header[echo.HeaderLocation] = "/" + resourceName(it.ID)
		return out
	})
}

// patch answers PATCH /preferences/{id}.
func (s *server) patch(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	in, form := decode[patchInput](c)
	if form != nil {
		return refusal(form, in.patch(userOf(c)).Check())
	}
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return change(c, func(by preferences.By) (preferences.Result, error) {
		return s.prefs.Patch(c.Request().Context(), userOf(c), id, by, terms, in.patch(userOf(c)))
	}, func(res preferences.Result) reply {
		return itemReply(http.StatusOK, res.List.Item(id), res.List.Domain)
	})
}

// remove answers DELETE /preferences/{id}.
func (s *server) remove(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return change(c, func(by preferences.By) (preferences.Result, error) {
		return s.prefs.Delete(c.Request().Context(), userOf(c), id, by, terms)
	}, func(preferences.Result) reply { return reply{status: http.StatusNoContent} })
}

// idLength is that of the one spelling of ids that counts.
const idLength = 36

// idOf returns the id in the path. What cannot be one is answered like one that
// does not exist.
func idOf(c echo.Context) (uuid.UUID, error) {
	text := c.Param("id")
	id, err := uuid.Parse(text)
	if err != nil || len(text) != idLength {
		return uuid.Nil, preferences.NotFound()
	}
	return id, nil
}

func resourceName(id uuid.UUID) string { return "preferences/" + id.String() }

// userOf returns whose lists the request is about.
func userOf(c echo.Context) string { return middleware.Of(c).Caller.Subject }

// byOf says for the history who writes and why.
func byOf(c echo.Context) preferences.By {
	r := middleware.Of(c)
	return preferences.By{Actor: r.Caller.Subject, RequestID: r.ID, Traceparent: r.Traceparent}
}
