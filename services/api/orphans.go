package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// detectOrphaned answers GET /preferences:detectOrphaned.
func (s *server) detectOrphaned(c echo.Context) error {
	q := middleware.Of(c).Query
	page, err := s.prefs.DetectOrphaned(c.Request().Context(), preferences.OrphanQuery{Domain: q.Get(paramDomain), Token: q.Get(paramPageToken)})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, orphansOf(page))
}

// orphansJSON is a page of items whose entities their owner does not have.
type orphansJSON struct {
	Orphaned      []orphanJSON `json:"orphanedPreferences"`
	Total         int64        `json:"totalOrphaned"`
	Believable    bool         `json:"believable"`
	NextPageToken *string      `json:"nextPageToken"`
}

type orphanJSON struct {
	PreferenceID string `json:"preferenceId"`
	UserID       string `json:"userId"`
	EntityID     string `json:"entityId"`
	EntityType   string `json:"entityType"`
	Reason       string `json:"reason"`
}

// noEntity is the one reason for which an item is orphaned.
const noEntity = "Entity no longer exists"

func orphansOf(p preferences.OrphanPage) orphansJSON {
	out := orphansJSON{Orphaned: make([]orphanJSON, len(p.Orphans)), Total: p.Total, Believable: p.Believable, NextPageToken: nullable(p.NextToken)}
	for i, o := range p.Orphans {
		out.Orphaned[i] = orphanJSON{o.ID.String(), o.UserID, o.EntityID, p.EntityType, noEntity}
	}
	return out
}
