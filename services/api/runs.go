package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// reconcile answers POST /operations:reconcile.
func (s *server) reconcile(c echo.Context) error {
	dryRun, err := readFlag(middleware.Of(c).Query, paramDryRun)
	if err != nil {
		return err
	}
	by := byOf(c)
	by.Once = onceOf(c, nil)
	o, err := s.prefs.Reconcile(c.Request().Context(), by, dryRun)
	if err != nil {
		return err
	}
	return answerOperation(c, http.StatusAccepted, o)
}

// verify answers POST /operations:verify.
func (s *server) verify(c echo.Context) error {
	by := byOf(c)
	by.Once = onceOf(c, nil)
	o, err := s.prefs.BeginRun(c.Request().Context(), by, preferences.KindVerify, preferences.RunRequest{})
	if err != nil {
		return err
	}
	return answerOperation(c, http.StatusAccepted, o)
}
