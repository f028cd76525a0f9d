package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// fences are the statements that stop a batch when another runner has taken the
// operation over.
var fences = []string{"oplock", "opsave", "oprenew", "opfinish", "undobegin", "undosave", "undoend"}

// owned names the fence that an operation's saves run into.
func owned(err error) error {
	for _, name := range fences {
		if refused(err, name) {
			return fault.New(fault.Aborted, "OPERATION_TAKEN_OVER", "Another runner has taken the operation over.").Because(err)
		}
	}
	return err
}

// failureJSON is why an attempt failed. It stays in the database: it is for
// operators.
type failureJSON struct {
	Reason  fault.Reason `json:"reason"`
	Message string       `json:"message"`
}

func encodeCause(cause error) (*string, error) {
	if cause == nil {
		return nil, nil //nolint:nilnil // null is what stands for no cause
	}
	text, err := json.Marshal(failureJSON{fault.ReasonOf(cause), cause.Error()})
	if err != nil {
		return nil, fmt.Errorf("encode error: %w", err)
	}
	out := string(text)
	return &out, nil
}

func decodeCause(text []byte) (*preferences.Failure, error) {
	if text == nil {
		return nil, nil //nolint:nilnil // as in encodeCause
	}
	var f failureJSON
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("decode error: %w", err)
	}
	return &preferences.Failure{Reason: f.Reason, Text: f.Message}, nil
}

// Claim takes an open operation of one of the kinds that nobody works on; false
// means that there is none.
func (s *Store) Claim(ctx context.Context, owner string, lease time.Duration, kinds ...preferences.OperationKind) (preferences.Held, bool, error) {
	var h preferences.Held
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		h = preferences.Held{Owner: owner, Lease: lease}
		return send(ctx, c, run("begin"), run("claim", owner, lease.Seconds(), names).first(
			&h.ID, &h.Kind, &h.Epoch, &h.Attempts, &h.Cause, &h.Actor, &h.Request, &h.Done, &h.Total, &h.Stopping, &h.Undoing, &h.Traceparent), run(commit))
	})
	return h, err == nil && h.Epoch > 0, err
}

// Renew prolongs the lease of an operation. Aborted means that another runner
// has it.
func (s *Store) Renew(ctx context.Context, h preferences.Held) error {
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return owned(send(ctx, c, run("begin"), run("oprenew", h.ID, h.Epoch, h.Lease.Seconds()), run(commit)))
	})
}

// RetryLater gives an operation back after a failure, to be tried again after
// the delay, with its Attempts, unless progress was stored that its owner missed.
func (s *Store) RetryLater(ctx context.Context, h preferences.Held, delay time.Duration, cause error) error {
	text, err := encodeCause(cause)
	if err != nil {
		return err
	}
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("opretry", h.ID, h.Epoch, delay.Seconds(), text, h.Attempts), run(commit))
	})
}

// HandOver implements preferences.Store.
func (s *Store) HandOver(ctx context.Context, h preferences.Held, told bool) error {
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("ophandover", h.ID, h.Epoch, told), run(commit))
	})
}

// StopOperation implements preferences.Tx.
func (t *tx) StopOperation(ctx context.Context, id uuid.UUID, actor string, undo bool) (inTime bool, err error) {
	err = t.send(ctx, run("opcancel", id, undo, actor).first(&inTime))
	crashpoint.Hit("operation.stopped")
	return inTime, err
}

// OpenRun implements preferences.Tx. The run that was in the way may have ended
// before it is looked at: then there is room for this one.
func (t *tx) OpenRun(ctx context.Context, h preferences.Held) (id uuid.UUID, asked preferences.RunRequest, err error) {
	for id == uuid.Nil && err == nil {
		err = t.send(ctx, run("runopen", h.ID, string(h.Kind), h.Actor, h.Cause, string(h.Request)), run("runnow", string(h.Kind)).first(&id, &asked))
	}
	return id, asked, err
}

// Operation implements preferences.Store.
func (s *Store) Operation(ctx context.Context, id uuid.UUID) (preferences.Operation, error) {
	var found []preferences.Operation
	var entities []preferences.EntityReport
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, all(run("operation", id), &found, scanOperation), all(run("steps", id), &entities, scanEntityReport))
	})
	switch {
	case err != nil:
		return preferences.Operation{}, err
	case len(found) == 0:
		return preferences.Operation{}, preferences.OperationNotFound()
	}
	o := found[0]
	if o.Cleaned != nil {
		o.Cleaned.Entities = entities
	}
	return o, nil
}

// Operations implements preferences.Store.
func (s *Store) Operations(ctx context.Context, r preferences.OperationRange) ([]preferences.Operation, bool, error) {
	found := []preferences.Operation{}
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		page := run("operationpage", r.Behind.Time, r.Behind.ID, string(r.Kind), string(r.State), r.Limit+1)
		return send(ctx, c, all(page, &found, scanOperation))
	})
	if len(found) > r.Limit {
		return found[:r.Limit], true, err
	}
	return found, false, err
}

func scanOperation(row pgx.CollectableRow) (o preferences.Operation, err error) {
	var undoneBy *string
	var undo preferences.Undo
	var start, end *time.Time
	var failure, result, request []byte
	err = row.Scan(&o.ID, &o.Kind, &o.State, &o.Cause, &o.Actor, &o.Owner, &o.Attempts, &o.Stopping, &o.Progress.Done, &o.Progress.Total,
		&undoneBy, &undo.Done, &undo.Total, &undo.Restored, &o.Create, &start, &end, &failure, &result, &request)
	if err != nil {
		return o, err
	}
	o.Create, o.Stopping = o.Create.UTC(), o.Stopping && !o.State.Ended()
	for _, at := range []struct {
		from *time.Time
		into *time.Time
	}{{start, &o.Start}, {end, &o.End}} {
		if at.from != nil {
			*at.into = at.from.UTC()
		}
	}
	if undoneBy != nil {
		undo.By = *undoneBy
		o.Undo = &undo
	}
	if o.Failure, err = decodeCause(failure); err != nil {
		return o, err
	}
	return o, readReport(&o, request, result)
}

// cleanResultJSON is what is kept of a clean that has ended.
type cleanResultJSON struct {
	Deleted       int64 `json:"deleted"`
	AffectedUsers int64 `json:"affectedUsers"`
}

// readReport reads what the operation was asked for and what came of it.
func readReport(o *preferences.Operation, request, result []byte) error {
	if o.Kind != preferences.KindClean && o.Kind != preferences.KindBulkClean {
		o.Report = result
		return nil
	}
	var asked struct {
		Reorder  bool `json:"reorder"`
		Deferred bool `json:"deferred"`
	}
	if err := json.Unmarshal(request, &asked); err != nil {
		return fmt.Errorf("decode request of operation %s: %w", o.ID, err)
	}
	var done cleanResultJSON
	if result != nil {
		if err := json.Unmarshal(result, &done); err != nil {
			return fmt.Errorf("decode result of operation %s: %w", o.ID, err)
		}
	}
	o.Deferred = asked.Deferred
	o.Cleaned = &preferences.CleanReport{Deleted: o.Progress.Done, AffectedUsers: done.AffectedUsers, Reorder: asked.Reorder}
	return nil
}

func scanEntityReport(row pgx.CollectableRow) (r preferences.EntityReport, err error) {
	var failure []byte
	if err := row.Scan(&r.Entity.Type, &r.Entity.ID, &r.State, &r.Deleted, &r.AffectedUsers, &failure); err != nil {
		return r, err
	}
	r.Failure, err = decodeCause(failure)
	return r, err
}

// PruneOperations deletes at most limit operations that ended long ago, and says
// how many. Who asked what of them is remembered for longer. Several processes
// may prune at once.
func (s *Store) PruneOperations(ctx context.Context, limit int) (pruned int, err error) {
	err = s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("opprune", preferences.OperationRetention.Seconds(), limit).first(&pruned),
			run("callprune", preferences.CallRetention.Seconds(), limit), run(commit))
	})
	return pruned, err
}
