package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// history answers GET /preferences:history.
func (s *server) history(c echo.Context) error {
	q := middleware.Of(c).Query
	in := preferences.HistoryQuery{Domain: q.Get(paramDomain), Token: q.Get(paramPageToken)}
	var whose, size []fault.Violation
	in.UserID, whose = readUserID(q, userOf(c))
	in.Size, size = readPageSize(q, preferences.MaxHistory)
	if wrong := append(whose, size...); len(wrong) > 0 {
		return invalid(wrong...)
	}
	page, err := s.prefs.History(c.Request().Context(), in)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, historyOf(page))
}

// auditEvents answers GET /auditEvents.
func (s *server) auditEvents(c echo.Context) error {
	q, err := readAuditQuery(middleware.Of(c).Query)
	if err != nil {
		return err
	}
	page, err := s.prefs.Audit(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, auditOf(page))
}

func readAuditQuery(q url.Values) (preferences.AuditQuery, error) {
	out := preferences.AuditQuery{Domain: q.Get(paramDomain), Actor: q.Get(paramActor), Token: q.Get(paramPageToken)}
	var wrong, size []fault.Violation
	out.UserID, wrong = readUserID(q, "")
	out.Size, size = readPageSize(q, preferences.MaxHistory)
	wrong = append(wrong, size...)
	for _, at := range []struct {
		name string
		into *time.Time
	}{{paramStartTime, &out.From}, {paramEndTime, &out.To}} {
		if !q.Has(at.name) {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, q.Get(at.name))
		if err != nil || t.IsZero() {
			wrong = append(wrong, fault.Violation{Field: at.name, Description: "must be a time such as 2026-01-31T12:00:00Z (RFC 3339; a + is sent as %2B)"})
		}
		*at.into = t.UTC().Truncate(time.Microsecond)
	}
	if q.Has(paramDomain) && out.Domain == "" {
		wrong = append(wrong, fault.Violation{Field: paramDomain, Description: "must be a domain, or be left out"})
	}
	if q.Has(paramActor) && !isActor(out.Actor) {
		wrong = append(wrong, fault.Violation{Field: paramActor, Description: fmt.Sprintf("must be 1 to %d bytes of text", maxActor)})
	}
	if len(wrong) > 0 {
		return preferences.AuditQuery{}, invalid(wrong...)
	}
	return out, nil
}

// maxActor is the longest actor: a subject, or the name of an event or operation.
const maxActor = 512

// isActor says whether the history could hold that actor.
func isActor(actor string) bool {
	return actor != "" && len(actor) <= maxActor && utf8.ValidString(actor) && !strings.ContainsRune(actor, 0)
}

// historyJSON is a page of a list's history.
type historyJSON struct {
	Changes       []changeJSON `json:"changes"`
	NextPageToken *string      `json:"nextPageToken"`
}

// changeJSON is one version of a list.
type changeJSON struct {
	Version   int64              `json:"version"`
	Time      time.Time          `json:"time"`
	Action    preferences.Action `json:"action"`
	Actor     string             `json:"actor"`
	RequestID string             `json:"requestId,omitempty"`
	Operation string             `json:"operation,omitempty"`
	Forced    bool               `json:"forced"`
	Gaps      bool               `json:"gaps"`
	Delta     json.RawMessage    `json:"delta"`
}

func historyOf(p preferences.HistoryPage) historyJSON {
	out := historyJSON{Changes: make([]changeJSON, len(p.Changes)), NextPageToken: nullable(p.NextToken)}
	for i, c := range p.Changes {
		out.Changes[i] = changeOf(c)
	}
	return out
}

func changeOf(c preferences.Change) changeJSON {
	out := changeJSON{c.Version, c.Time, c.Action, c.Actor, c.RequestID, "", c.Forced, c.Gaps, c.Delta}
	if c.Operation != uuid.Nil {
		out.Operation = operationName(c.Operation)
	}
	return out
}

// nullable is text as bodies have it that may be missing: null, such as the token
// after the last page.
func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// auditJSON is a page of audit events, each a listEventJSON or an
// operationEventJSON.
type auditJSON struct {
	AuditEvents   []any   `json:"auditEvents"`
	NextPageToken *string `json:"nextPageToken"`
}

// listChanged is the type of an audit event about a list; those about an
// operation have the call for one.
const listChanged = "listChanged"

// listEventJSON is a change of a list.
type listEventJSON struct {
	Type   string `json:"type"`
	UserID string `json:"userId"`
	Domain string `json:"domain"`
	changeJSON
}

// operationEventJSON is what somebody asked of an operation.
type operationEventJSON struct {
	Type      preferences.OperationCall `json:"type"`
	Time      time.Time                 `json:"time"`
	Action    string                    `json:"action"`
	Actor     string                    `json:"actor"`
	Operation string                    `json:"operation"`
	State     string                    `json:"state"`
	Request   json.RawMessage           `json:"request"`
}

func auditOf(p preferences.AuditPage) auditJSON {
	out := auditJSON{AuditEvents: make([]any, len(p.Events)), NextPageToken: nullable(p.NextToken)}
	for i, e := range p.Events {
		if o := e.Operation; o != nil {
			out.AuditEvents[i] = operationEventJSON{o.Call, o.Time, o.Kind, o.Actor, operationName(o.ID), o.State, o.Request}
			continue
		}
		out.AuditEvents[i] = listEventJSON{listChanged, e.Change.UserID, e.Change.Domain, changeOf(*e.Change)}
	}
	return out
}
