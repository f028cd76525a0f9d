package api

import (
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/precondition"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// changes answers GET /preferences with a sync token.
func (s *server) changes(c echo.Context, conditions precondition.Conditions, q listQuery) error {
	sync, err := s.prefs.Sync(c.Request().Context(), q.userID, q.domain, q.syncToken)
	if err != nil {
		return err
	}
	if err := sync.List.Reached(q.least); err != nil {
		return err
	}
	now := stateOf(sync.List)
	if done, err := judged(c, conditions, now); done || err != nil {
		return err
	}
	return answerRead(c, now.tag, syncJSON{sync, now.tag})
}

// withSync are the parameters that a read of changes knows; the others choose a
// part of the list, which changes do not have.
var withSync = []string{paramSyncToken, paramDomain, paramUserID, paramMinVersion}

// readSyncToken returns what does not go with a sync token.
func (l *listQuery) readSyncToken(q url.Values) (wrong []fault.Violation) {
	if !q.Has(paramSyncToken) {
		return nil
	}
	l.syncToken, l.sync = q.Get(paramSyncToken), true
	for name := range q {
		if !slices.Contains(withSync, name) {
			wrong = append(wrong, fault.Violation{Field: name, Description: "must be left out beside syncToken"})
		}
	}
	return wrong
}

// syncJSON is what has changed in a list.
type syncJSON struct {
	preferences.Sync

	tag string
}

func (s syncJSON) appendJSON(b []byte) []byte {
	b = append(b, `{"changed":[`...)
	for i, it := range s.Changed {
		if i > 0 {
			b = append(b, ',')
		}
		b = preferenceJSON{it, s.List.Domain, it.ETag()}.appendJSON(b)
	}
	b = append(b, `],"removed":[`...)
	for i, g := range s.Removed {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMember(b, `{"id":`, g.ID.String())
		b = appendMember(b, `,"entityId":`, g.EntityID)
		b = append(appendMember(b, `,"entityType":`, g.EntityType), '}')
	}
	b = appendMember(b, `],"etag":`, s.tag)
	b = appendNumber(b, `,"version":`, s.List.Version)
	return append(appendMember(b, `,"syncToken":`, s.List.SyncToken()), '}')
}
