package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// keptRow is what is known of a request that came with a key before: its
// answer, or the operation that it became.
type keptRow struct {
	fingerprint []byte
	status      *int
	headers     []byte
	body        []byte
	operation   *uuid.UUID
}

// keyed takes a key for the rest of the transaction and looks what is kept
// under it. Two transactions never hold one key: the second is told so at once,
// because whoever repeats a request will do it again, and must not hold a
// connection meanwhile.
func keyed(by preferences.By, kept *keptRow) []step {
	return []step{
		run("keyguard", keyLock(by.Actor, by.Once.Key)),
		run("kept", by.Actor, by.Once.Key, preferences.KeyRetention.Seconds()).
			first(&kept.fingerprint, &kept.status, &kept.headers, &kept.body, &kept.operation),
	}
}

// judge says what a kept row and the error of reading it mean for a request;
// found is false for one that comes for the first time.
func (k keptRow) judge(err error, by preferences.By) (found bool, _ error) {
	switch {
	case refused(err, "keyguard"):
		return false, preferences.InProgress()
	case err != nil || k.fingerprint == nil:
		return false, err
	case !bytes.Equal(k.fingerprint, by.Once.Fingerprint):
		return false, preferences.KeyReused()
	default:
		return true, nil
	}
}

// claim begins the transaction of a write that happens once. Unless the write
// was made before, it goes on behind a savepoint: a batch that is refused must
// not give the key to another.
func (w *write) claim(ctx context.Context, list step) (earlier *preferences.Answer, err error) {
	var kept keptRow
	steps := append([]step{run("begin")}, keyed(w.by, &kept)...)
	found, err := kept.judge(send(ctx, w.conn, append(steps, list, run("point"))...), w.by)
	if err != nil || !found {
		return nil, err
	}
	if kept.status == nil {
		return nil, fmt.Errorf("the key of a write names an operation: %s", kept.operation)
	}
	earlier = &preferences.Answer{Status: *kept.status, Body: kept.body}
	if err := json.Unmarshal(kept.headers, &earlier.Header); err != nil {
		return nil, fmt.Errorf("decode kept headers: %w", err)
	}
	return earlier, nil
}

// record is the end of a write: what its version writes, its key with the
// answer, and the commit.
func (w *write) record(res *preferences.Result, ch preferences.Changes) ([]step, error) {
	steps, err := w.store.record(ch, w.by)
	if err != nil {
		return nil, err
	}
	kept, err := w.keep(res)
	crashpoint.Hit("write.committing")
	return append(append(steps, kept...), run(commit)), err
}

// nothing ends a write that changes nothing, not even by having locked or made
// a head. Its answer is kept all the same: by the time it is repeated the list
// may have changed.
func (w *write) nothing(ctx context.Context, res preferences.Result) (preferences.Result, error) {
	if w.by.Once == nil {
		return res, nil
	}
	kept, err := w.keep(&res)
	if err != nil {
		return preferences.Result{}, err
	}
	return res, send(ctx, w.conn, append(append([]step{w.undo()}, kept...), run(commit))...)
}

// keep renders the answer and stores it under the key.
func (w *write) keep(res *preferences.Result) ([]step, error) {
	once := w.by.Once
	if once == nil {
		return nil, nil
	}
	a, err := once.Render(*res)
	if err != nil {
		return nil, err
	}
	headers, err := json.Marshal(a.Header)
	if err != nil {
		return nil, fmt.Errorf("encode headers: %w", err)
	}
	res.Answer = &a
	return []step{run("keep", w.by.Actor, once.Key, once.Fingerprint, a.Status, string(headers), a.Body, nil)}, nil
}

// Kept implements preferences.Tx.
func (t *tx) Kept(ctx context.Context, by preferences.By) (uuid.UUID, error) {
	if by.Once == nil {
		return uuid.Nil, nil
	}
	var kept keptRow
	found, err := kept.judge(t.send(ctx, keyed(by, &kept)...), by)
	if err != nil || !found {
		return uuid.Nil, err
	}
	if kept.operation == nil {
		return uuid.Nil, errors.New("the key of an operation names a write")
	}
	return *kept.operation, nil
}

// Repeated implements preferences.Tx. An operation outlives its request: while
// somebody still waits for it, the request is under way. One that did not succeed
// is made again, unless its caller was told to look after it.
func (t *tx) Repeated(ctx context.Context, by preferences.By) (uuid.UUID, error) {
	operation, err := t.Kept(ctx, by)
	if err != nil || operation == uuid.Nil {
		return uuid.Nil, err
	}
	var state preferences.OperationState
	var deferred bool
	err = t.send(ctx, run("keptoperation", operation).first(&state, &deferred))
	switch {
	case err != nil:
		return uuid.Nil, err
	case deferred, state == preferences.Succeeded:
		return operation, nil
	case !state.Ended():
		return uuid.Nil, preferences.InProgress()
	default:
		return uuid.Nil, nil
	}
}

// KeepOperation implements preferences.Tx.
func (t *tx) KeepOperation(_ context.Context, by preferences.By, operation uuid.UUID) error {
	if by.Once != nil {
		t.later(run("keep", by.Actor, by.Once.Key, by.Once.Fingerprint, nil, nil, nil, operation))
	}
	return nil
}

// PruneKeys deletes at most limit keys that are past their time, and says how
// many. Several processes may prune at once.
func (s *Store) PruneKeys(ctx context.Context, limit int) (int, error) {
	var pruned int
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("keyprune", preferences.KeyRetention.Seconds(), limit).first(&pruned), run(commit))
	})
	return pruned, err
}
