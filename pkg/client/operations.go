package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/client/wire"
	"github.com/prefsd/prefsd/pkg/retry"
)

// Shapes of long work.
type (
	// Operation is work that goes on after its call was answered.
	Operation = wire.Operation
	// CleanReport says what the removal of many entities came to.
	CleanReport = wire.CleanReport
	// OperationKind is what an operation does.
	OperationKind = wire.OperationKind
	// OperationState is how far an operation is.
	OperationState = wire.OperationState
)

// Entity is something that lists refer to.
type Entity struct {
	Type string
	ID   string
}

// Cleaned says what the removal of an entity from all lists came to, or, when it
// takes long, which operation goes on with it.
type Cleaned struct {
	wire.CleanResult

	Operation *Operation // nil once it is done
}

// BulkCleaned says what the removal of many entities came to, or which operation
// goes on with it.
type BulkCleaned struct {
	CleanReport

	Operation *Operation // nil once it is done
}

// RespondAsync makes a bulk clean an operation, however short it is.
func RespondAsync() Option {
	return func(req *http.Request) { req.Header.Set("Prefer", "respond-async") }
}

// Clean removes an entity from everybody's lists. What takes longer than a
// request should goes on as an operation; Wait waits for it. It needs the scope
// preferences.system or preferences.admin.
func (c *Client) Clean(ctx context.Context, entityType, entityID string, opts ...Option) (*Cleaned, error) {
	body := wire.CleanRequest{EntityType: entityType, EntityID: entityID}
	req, err := wire.NewCleanOrphanedPreferencesRequest(c.base, &wire.CleanOrphanedPreferencesParams{}, body)
	out := &Cleaned{}
	out.Operation, err = c.deferred(ctx, &out.CleanResult, req, err, opts...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// BulkClean removes entities from everybody's lists: up to 50 at once, more as
// an operation. It needs the scope preferences.system or preferences.admin.
func (c *Client) BulkClean(ctx context.Context, entities []Entity, opts ...Option) (*BulkCleaned, error) {
	body := wire.BulkCleanRequest{}
	for _, e := range entities {
		body.Entities = append(body.Entities, struct {
			EntityID   wire.EntityID   `json:"entityId"`
			EntityType wire.EntityType `json:"entityType"`
		}{e.ID, e.Type})
	}
	req, err := wire.NewBulkCleanOrphanedPreferencesRequest(c.base, &wire.BulkCleanOrphanedPreferencesParams{}, body)
	out := &BulkCleaned{}
	out.Operation, err = c.deferred(ctx, &out.CleanReport, req, err, opts...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// deferred sends a request whose answer is its result, read into out, or the
// operation that works on it.
func (c *Client) deferred(ctx context.Context, out any, req *http.Request, err error, opts ...Option) (*Operation, error) {
	res, err := c.ask(ctx, req, err, opts)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusAccepted {
		return nil, decode(res, http.StatusOK, out)
	}
	op := new(Operation)
	return op, decode(res, http.StatusAccepted, op)
}

// decode reads an answer that must have that status.
func decode(res *http.Response, want int, out any) error {
	if err := expect(res, want); err != nil {
		return err
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// Operations goes through the operations, the newest first; an empty kind or
// state means any. It ends with the first error.
func (c *Client) Operations(ctx context.Context, kind OperationKind, state OperationState) iter.Seq2[Operation, error] {
	return func(yield func(Operation, error) bool) {
		params := &wire.ListOperationsParams{}
		if kind != "" {
			params.Kind = &kind
		}
		if state != "" {
			params.State = &state
		}
		for {
			page, err := call[wire.Operations](ctx, c, http.StatusOK)(wire.NewListOperationsRequest(c.base, params))
			if err != nil {
				yield(Operation{}, err)
				return
			}
			for _, o := range page.Operations {
				if !yield(o, nil) {
					return
				}
			}
			if page.NextPageToken == nil {
				return
			}
			params.PageToken = page.NextPageToken
		}
	}
}

// Operation reads an operation, by its name or id.
func (c *Client) Operation(ctx context.Context, name string) (*Operation, error) {
	return call[Operation](ctx, c, http.StatusOK)(wire.NewGetOperationRequest(c.base, idOf(name), &wire.GetOperationParams{}))
}

// Cancel stops an operation between two of its transactions; with undo what it
// did is taken back, too. One that has ended is ErrConflict.
func (c *Client) Cancel(ctx context.Context, name string, undo bool, opts ...Option) (*Operation, error) {
	params := &wire.CancelOperationParams{}
	if undo {
		params.Undo = &undo
	}
	return accepted(ctx, c, opts)(wire.NewCancelOperationRequest(c.base, idOf(name), params))
}

// Undo takes back what a clean did. Every list gets its items back.
func (c *Client) Undo(ctx context.Context, name string, opts ...Option) (*Operation, error) {
	return accepted(ctx, c, opts)(wire.NewUndoOperationRequest(c.base, idOf(name), &wire.UndoOperationParams{}))
}

// Reconcile begins to compare all lists with what the owners have; a dry run
// changes nothing. While one goes on that was asked for the same, it is that one.
func (c *Client) Reconcile(ctx context.Context, dryRun bool, opts ...Option) (*Operation, error) {
	return accepted(ctx, c, opts)(wire.NewBeginReconciliationRequest(c.base, &wire.BeginReconciliationParams{DryRun: &dryRun}))
}

// Verify begins to check the whole database against what must always be true.
// While that goes on, it is the one that goes on.
func (c *Client) Verify(ctx context.Context, opts ...Option) (*Operation, error) {
	return accepted(ctx, c, opts)(wire.NewBeginVerificationRequest(c.base, &wire.BeginVerificationParams{}))
}

// accepted returns what sends a request that is answered by an operation.
func accepted(ctx context.Context, c *Client, opts []Option) func(*http.Request, error) (*Operation, error) {
	return call[Operation](ctx, c, http.StatusAccepted, opts...)
}

// Waits between two looks at an operation, where the service asks for none.
const (
	leastLook = 50 * time.Millisecond
	mostLook  = 2 * time.Second
)

// Wait looks at an operation until it is done or ctx ends, as often as the
// service likes, and more seldom the longer nothing moves. Each look is shown to
// progress, which may be nil. An operation that failed is done, too: its Error
// says why.
func (c *Client) Wait(ctx context.Context, name string, progress func(*Operation)) (*Operation, error) {
	for looks, last := 1, int64(-1); ; looks++ {
		op, pause, err := c.look(ctx, name)
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress(op)
		}
		if op.Done {
			return op, nil
		}
		if moved := steps(op); moved != last {
			looks, last = 1, moved
		}
		if err := retry.Wait(ctx, max(retry.Delay(looks, leastLook, mostLook), pause)); err != nil {
			return op, err
		}
	}
}

// look reads an operation, and how long the service asks to wait for the next
// look.
func (c *Client) look(ctx context.Context, name string) (*Operation, time.Duration, error) {
	req, err := wire.NewGetOperationRequest(c.base, idOf(name), &wire.GetOperationParams{})
	if err != nil {
		return nil, 0, err
	}
	res, err := c.Do(req.WithContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	op := new(Operation)
	return op, RetryAfter(res), decode(res, http.StatusOK, op)
}

// steps are those that an operation has made, forward and back.
func steps(op *Operation) int64 {
	n := op.Metadata.Progress.Done
	if u := op.Metadata.Undo; u != nil {
		n += u.Done
	}
	return n
}

func idOf(name string) string { return strings.TrimPrefix(name, "operations/") }
