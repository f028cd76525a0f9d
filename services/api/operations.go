package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// cleanOrphaned answers POST /preferences:cleanOrphaned.
func (s *server) cleanOrphaned(c echo.Context) error {
	in, form := decode[cleanInput](c)
	entity, wrong := in.entity()
	if form != nil || wrong != nil {
		return refusal(form, wrong, s.prefs.CheckClean(entity))
	}
	rehearse, err := readFlag(middleware.Of(c).Query, paramValidateOnly)
	if err != nil {
		return err
	}
	by := byOf(c)
	by.Once = onceOf(c, nil)
	var done preferences.Cleaned
	if rehearse {
		done, err = s.prefs.RehearseClean(c.Request().Context(), entity)
	} else {
		done, err = s.prefs.CleanOrphaned(c.Request().Context(), by, entity, in.reorder())
	}
	switch {
	case err != nil:
		return err
	case done.Ongoing != nil:
		return answerOperation(c, http.StatusAccepted, *done.Ongoing)
	}
	return answer(c, http.StatusOK, cleanedJSON{Deleted: done.Deleted, AffectedUsers: done.AffectedUsers, Reordered: in.reorder()})
}

// bulkCleanOrphaned answers POST /preferences:bulkCleanOrphaned.
func (s *server) bulkCleanOrphaned(c echo.Context) error {
	in, form := decode[bulkCleanInput](c)
	entities, wrong := in.entities()
	if form != nil || wrong != nil {
		return refusal(form, wrong, s.prefs.CheckBulkClean(entities))
	}
	by := byOf(c)
	by.Once = onceOf(c, nil)
	o, err := s.prefs.BulkClean(c.Request().Context(), by, entities, in.reorder(), prefersAsync(c))
	if err != nil {
		return err
	}
	if o.State != preferences.Succeeded || o.Deferred {
		return answerOperation(c, http.StatusAccepted, o)
	}
	return answer(c, http.StatusOK, cleanReportOf(o))
}

// prefersAsync says whether the caller does not want to wait, and lets it know
// that it need not.
func prefersAsync(c echo.Context) bool {
	_, is := preferenceOf(c, preferAsync)
	if is {
		c.Response().Header().Set(headerPreferenceApplied, preferAsync)
	}
	return is
}

// operations answers GET /operations.
func (s *server) operations(c echo.Context) error {
	q := middleware.Of(c).Query
	in := preferences.OperationQuery{
		Kind: preferences.OperationKind(q.Get(paramKind)), State: preferences.OperationState(q.Get(paramState)), Token: q.Get(paramPageToken),
	}
	size, wrong := readPageSize(q, preferences.MaxHistory)
	in.Size = size
	if q.Has(paramKind) && !slices.Contains(preferences.OperationKinds(), in.Kind) {
		wrong = append(wrong, fault.Violation{Field: paramKind, Description: "must be one of: " + joined(preferences.OperationKinds())})
	}
	if q.Has(paramState) && !slices.Contains(preferences.OperationStates(), in.State) {
		wrong = append(wrong, fault.Violation{Field: paramState, Description: "must be one of: " + joined(preferences.OperationStates())})
	}
	if len(wrong) > 0 {
		return invalid(wrong...)
	}
	page, err := s.prefs.Operations(c.Request().Context(), in)
	if err != nil {
		return err
	}
	out := operationsJSON{Operations: make([]operationJSON, len(page.Operations)), NextPageToken: nullable(page.NextToken)}
	for i, o := range page.Operations {
		out.Operations[i] = operationOf(o)
	}
	return answer(c, http.StatusOK, out)
}

func joined[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = string(x)
	}
	return strings.Join(names, ", ")
}

// operation answers GET /operations/{id}.
func (s *server) operation(c echo.Context) error {
	id, err := operationID(c)
	if err != nil {
		return err
	}
	o, err := s.prefs.Operation(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return answerOperation(c, http.StatusOK, o)
}

// cancelOperation answers POST /operations/{id}/cancel.
func (s *server) cancelOperation(c echo.Context) error {
	undo, err := readFlag(middleware.Of(c).Query, paramUndo)
	if err != nil {
		return err
	}
	return s.stopOperation(c, undo)
}

// undoOperation answers POST /operations/{id}/undo.
func (s *server) undoOperation(c echo.Context) error { return s.stopOperation(c, true) }

func (s *server) stopOperation(c echo.Context, undo bool) error {
	id, err := operationID(c)
	if err != nil {
		return err
	}
	by := byOf(c)
	by.Once = onceOf(c, nil)
	o, err := s.prefs.CancelOperation(c.Request().Context(), id, by, undo)
	if err != nil {
		return err
	}
	return answerOperation(c, http.StatusAccepted, o)
}

func operationID(c echo.Context) (uuid.UUID, error) {
	id, err := idOf(c)
	if err != nil {
		return uuid.Nil, preferences.OperationNotFound()
	}
	return id, nil
}

// operationPoll is what callers are asked to wait before they look again.
const operationPoll = "1"

// answerOperation says of one that goes on where to look, and when.
func answerOperation(c echo.Context, status int, o preferences.Operation) error {
	h := c.Response().Header()
	if status == http.StatusAccepted {
		h.Set(echo.HeaderLocation, "/"+operationName(o.ID))
	}
	if !o.State.Ended() {
		h.Set(echo.HeaderRetryAfter, operationPoll)
	}
	out := operationOf(o)
	switch {
	case o.Cleaned != nil && (o.State == preferences.Succeeded || o.State == preferences.Compensated):
		out.Response = cleanReportOf(o)
	case o.Report != nil && o.State.Ended():
		out.Response = o.Report
	}
	return answer(c, status, out)
}

func operationName(id uuid.UUID) string { return "operations/" + id.String() }

// operationsJSON is a page of operations, without what each of them has done.
type operationsJSON struct {
	Operations    []operationJSON `json:"operations"`
	NextPageToken *string         `json:"nextPageToken"`
}

// operationJSON is an operation as it stands.
type operationJSON struct {
	Name     string                    `json:"name"`
	Kind     preferences.OperationKind `json:"kind"`
	Done     bool                      `json:"done"`
	Metadata operationMetadataJSON     `json:"metadata"`
	Response any                       `json:"response,omitempty"` // a cleanReportJSON, or the report of a run
	Error    *operationErrorJSON       `json:"error,omitempty"`
}

type operationMetadataJSON struct {
	State           preferences.OperationState `json:"state"`
	Progress        progressJSON               `json:"progress"`
	Undo            *undoJSON                  `json:"undo"`
	CancelRequested bool                       `json:"cancelRequested"`
	CreateTime      time.Time                  `json:"createTime"`
	StartTime       *time.Time                 `json:"startTime"`
	EndTime         *time.Time                 `json:"endTime"`
	Actor           string                     `json:"actor"`
	Cause           string                     `json:"cause"`
}

type progressJSON struct {
	Done    int64 `json:"done"`
	Total   int64 `json:"total"`
	Percent int64 `json:"percent"`
}

// undoJSON is how far an undo is, in lists, and how many items are back.
type undoJSON struct {
	progressJSON
	Restored int64  `json:"restored"`
	Actor    string `json:"actor"`
}

// operationErrorJSON is why an operation has not done what it was called for.
type operationErrorJSON struct {
	Code    fault.Reason `json:"code"`
	Message string       `json:"message"`
	Status  string       `json:"status"`
}

func operationOf(o preferences.Operation) operationJSON {
	out := operationJSON{Name: operationName(o.ID), Kind: o.Kind, Done: o.State.Ended(), Error: operationErrorOf(o)}
	finished := o.State != preferences.Pending && o.State != preferences.Running
	out.Metadata = operationMetadataJSON{
		State: o.State, Progress: progressOf(o.Progress, finished), CancelRequested: o.Stopping,
		CreateTime: o.Create, StartTime: someTime(o.Start), EndTime: someTime(o.End), Actor: o.Actor, Cause: o.Cause,
	}
	if o.Undo != nil {
		out.Metadata.Undo = &undoJSON{progressOf(o.Undo.Progress, o.State == preferences.Compensated), o.Undo.Restored, o.Undo.By}
	}
	return out
}

// progressOf counts nothing to do as done at the end, and not before.
func progressOf(p preferences.Progress, finished bool) progressJSON {
	const whole = 100
	out := progressJSON{Done: p.Done, Total: p.Total}
	switch {
	case p.Total > 0:
		out.Percent = min(p.Done*whole/p.Total, whole)
	case finished:
		out.Percent = whole
	}
	return out
}

func someTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// operationErrorOf says why, as far as that is meant for callers.
func operationErrorOf(o preferences.Operation) *operationErrorJSON {
	switch o.State {
	case preferences.Cancelled:
		return &operationErrorJSON{"CANCELLED", "The operation was cancelled; what it had done by then stays done until it is undone.", "CANCELLED"}
	case preferences.Failed:
		return &operationErrorJSON{reasonOf(o.Failure), failureOf(o), classes[fault.Internal].name}
	default:
		return nil
	}
}

// failureOf tells a run that was broken off from work that cannot be done.
func failureOf(o preferences.Operation) string {
	if o.Kind == preferences.KindReconcile && o.Report != nil {
		return "The owner could not be asked, or not be believed: nothing was done. The response says how far the run came."
	}
	return "The operation failed again and again and was given up."
}

func reasonOf(f *preferences.Failure) fault.Reason {
	if f == nil {
		return fault.ReasonInternal
	}
	return f.Reason
}

// cleanReportJSON is what a clean has done, altogether and for each entity.
type cleanReportJSON struct {
	Summary cleanSummaryJSON  `json:"summary"`
	Details []cleanDetailJSON `json:"details"`
}

type cleanSummaryJSON struct {
	TotalEntities           int              `json:"totalEntities"`
	TotalPreferencesDeleted int64            `json:"totalPreferencesDeleted"`
	AffectedUsers           int64            `json:"affectedUsers"`
	Errors                  []cleanErrorJSON `json:"errors"`
}

type cleanDetailJSON struct {
	EntityID           string `json:"entityId"`
	EntityType         string `json:"entityType"`
	PreferencesDeleted int64  `json:"preferencesDeleted"`
	AffectedUsers      int64  `json:"affectedUsers"`
}

type cleanErrorJSON struct {
	EntityID   string       `json:"entityId"`
	EntityType string       `json:"entityType"`
	Code       fault.Reason `json:"code"`
	Message    string       `json:"message"`
}

func cleanReportOf(o preferences.Operation) cleanReportJSON {
	r := o.Cleaned
	out := cleanReportJSON{
		Summary: cleanSummaryJSON{
			TotalEntities: len(r.Entities), TotalPreferencesDeleted: r.Deleted, AffectedUsers: r.AffectedUsers, Errors: []cleanErrorJSON{},
		},
		Details: make([]cleanDetailJSON, len(r.Entities)),
	}
	for i, e := range r.Entities {
		out.Details[i] = cleanDetailJSON{e.Entity.ID, e.Entity.Type, e.Deleted, e.AffectedUsers}
		if e.State == preferences.Failed {
			out.Summary.Errors = append(out.Summary.Errors, cleanErrorJSON{
				e.Entity.ID, e.Entity.Type, reasonOf(e.Failure), "The entity may still stand in some lists. Clean it again.",
			})
		}
	}
	return out
}

// bulkCleanInput is the body that takes many entities out of every list.
type bulkCleanInput struct {
	Entities []entityInput `json:"entities"`
	Reorder  *bool         `json:"reorder"`
}

type entityInput struct {
	EntityID   string `json:"entityId"`
	EntityType string `json:"entityType"`
}

func (in bulkCleanInput) reorder() bool { return in.Reorder == nil || *in.Reorder }

// entities returns what is to be cleaned. A type that no domain has is another
// mistake than none at all.
func (in bulkCleanInput) entities() ([]preferences.Entity, error) {
	out := make([]preferences.Entity, len(in.Entities))
	var wrong []error
	for i, e := range in.Entities {
		out[i] = preferences.Entity{Type: e.EntityType, ID: e.EntityID}
		if e.EntityType == "" {
			wrong = append(wrong, invalid(fault.Violation{Field: fmt.Sprintf("entities[%d].entityType", i), Description: "is required"}))
		}
	}
	if len(wrong) == 0 {
		return out, nil
	}
	return out, fault.Join(wrong...)
}
