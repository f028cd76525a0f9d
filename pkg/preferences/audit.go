package preferences

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// MaxAuditRange is how much time one query over all users may span.
const MaxAuditRange = 31 * 24 * time.Hour

// AuditQuery asks who changed what, newest first: of one user, or of all in a
// range of time. Operations belong to no user and to no domain.
type AuditQuery struct {
	UserID   string    // empty: all
	From, To time.Time // From included, To not; zero: open, which only UserID allows for From
	Domain   string    // empty: all
	Actor    string    // empty: all
	Size     int       // as in HistoryQuery
	Token    string
}

// AuditEvent is a change of a list, or what somebody asked of an operation.
type AuditEvent struct {
	Change    *Change
	Operation *AuditOperation
}

// AuditOperation is an operation as it stands now, and a call that concerned it.
type AuditOperation struct {
	ID                 uuid.UUID
	Call               OperationCall
	Kind, State, Actor string
	Time               time.Time // of the call
	Request            json.RawMessage
}

// OperationCall is what somebody asks of an operation.
type OperationCall string

// Calls.
const (
	OperationCalled    OperationCall = "operationCalled"
	OperationCancelled OperationCall = "operationCancelled"
	OperationUndone    OperationCall = "operationUndone"
)

// AuditPage is a part of the audit events.
type AuditPage struct {
	Events    []AuditEvent
	NextToken string // empty: this is the last page
}

// AuditPosition stands behind one event. Of events of one time, changes come
// before operations, and each kind stands in the falling order of its key.
type AuditPosition struct {
	Time      time.Time `json:"t"`
	List      int64     `json:"l"`
	Version   int64     `json:"v"`
	Operation uuid.UUID `json:"o"`
}

// AuditRange is what Audit reads: events from a time on, behind a position, at
// most so many, with the bound of HistoryRange.
type AuditRange struct {
	UserID, Domain, Actor string
	From                  time.Time
	Behind                AuditPosition
	Limit                 int
}

// Operations says whether operations are asked for too.
func (r AuditRange) Operations() bool { return r.UserID == "" && r.Domain == "" }

// Position is where the page that ends with the event goes on.
func (e AuditEvent) Position() AuditPosition {
	if e.Operation != nil {
		return AuditPosition{Time: e.Operation.Time, Operation: e.Operation.ID}
	}
	return AuditPosition{Time: e.Change.Time, List: e.Change.ListID, Version: e.Change.Version, Operation: uuid.Max}
}

// Audit returns a page of audit events.
func (s *Service) Audit(ctx context.Context, q AuditQuery) (AuditPage, error) {
	r := AuditRange{UserID: q.UserID, Domain: q.Domain, Actor: q.Actor, From: q.From, Limit: historySize(q.Size)}
	r.Behind.Time = q.To
	if q.To.IsZero() {
		now, err := s.store.Now(ctx)
		if err != nil {
			return AuditPage{}, err
		}
		r.Behind.Time = now.Add(clockSkew)
	}
	if q.Token != "" && !openJSON(q.bound(), q.Token, &r.Behind) {
		return AuditPage{}, badHistoryToken("must be the nextPageToken of a page with the same parameters")
	}
	if err := s.checkAudit(q, r.Behind.Time); err != nil {
		return AuditPage{}, err
	}
	events, more, err := s.store.Audit(ctx, r)
	if err != nil {
		return AuditPage{}, err
	}
	page := AuditPage{Events: events}
	if more {
		page.NextToken = sealJSON(q.bound(), events[len(events)-1].Position())
	}
	return page, nil
}

// clockSkew is how far the clock of a replica, which wrote what is read here, may
// be ahead of the store's.
const clockSkew = time.Minute

func (s *Service) checkAudit(q AuditQuery, to time.Time) error {
	if q.Domain != "" {
		if _, err := s.domains.Find(q.Domain); err != nil {
			return err
		}
	}
	v := violations{at: alone}
	switch {
	case q.UserID == "" && q.From.IsZero():
		v.add(fault.ReasonInvalidField, "startTime", "is required unless userId is given")
	case !q.To.IsZero() && !q.From.Before(q.To):
		v.add(fault.ReasonInvalidField, "endTime", "must be later than startTime")
	case q.UserID == "" && to.Sub(q.From) > MaxAuditRange+clockSkew:
		v.add(fault.ReasonInvalidField, "startTime", fmt.Sprintf("must be at most %d days before endTime, or before now, unless userId is given", MaxAuditRange/(24*time.Hour)))
	}
	return v.err()
}

func (q AuditQuery) bound() []byte {
	return fmt.Appendf(nil, "a1|%q|%d|%d|%q|%q", q.UserID, q.From.UnixMicro(), q.To.UnixMicro(), q.Domain, q.Actor)
}
