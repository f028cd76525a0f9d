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
	in, err := decode[itemInput](c)
	if err != nil {
		return err
	}
	res, it, err := s.prefs.Create(c.Request().Context(), userOf(c), in.domain(), byOf(c), terms, in.input())
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/"+resourceName(it.ID))
	return answerItem(c, http.StatusCreated, it, res.List.Domain)
}

// patch answers PATCH /preferences/{id}.
func (s *server) patch(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	in, err := decode[patchInput](c)
	if err != nil {
		return err
	}
	id, err := idOf(c)
	if err != nil {
		return err
	}
	if err := s.identified(c, id, in); err != nil {
		return err
	}
	res, it, err := s.prefs.Patch(c.Request().Context(), userOf(c), id, byOf(c), terms, in.patch())
	if err != nil {
		return err
	}
	return answerItem(c, http.StatusOK, it, res.List.Domain)
}

// identified compares what a patch says about the item's identity with the
// stored item. None of it ever changes, so reading it beforehand is safe.
func (s *server) identified(c echo.Context, id uuid.UUID, in patchInput) error {
	if !in.namesItem() {
		return nil
	}
	it, domain, err := s.prefs.Item(c.Request().Context(), userOf(c), id)
	if err != nil {
		return err
	}
	return in.identifies(userOf(c), it, domain)
}

// answerItem answers a write of one item.
func answerItem(c echo.Context, status int, it preferences.Item, domain string) error {
	tag := it.ETag()
	return answerWrite(c, status, tag, preferenceJSON{it, domain, tag})
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
	if _, err := s.prefs.Delete(c.Request().Context(), userOf(c), id, byOf(c), terms); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
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
