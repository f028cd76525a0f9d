package preferences

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// OperationQuery asks for a page of operations, newest first.
type OperationQuery struct {
	Kind  OperationKind  // empty: all
	State OperationState // empty: all
	Size  int            // as in HistoryQuery
	Token string
}

// OperationPage is a part of the operations.
type OperationPage struct {
	Operations []Operation
	NextToken  string // empty: this is the last page
}

// OperationRange is what Operations reads: those behind a position, at most so
// many.
type OperationRange struct {
	Kind   OperationKind
	State  OperationState
	Behind OperationPosition
	Limit  int
}

// OperationPosition stands behind one operation.
type OperationPosition struct {
	Time time.Time `json:"t"`
	ID   uuid.UUID `json:"i"`
}

// Operation returns an operation with all that it has done.
func (s *Service) Operation(ctx context.Context, id uuid.UUID) (Operation, error) {
	return s.store.Operation(ctx, id)
}

// endOfTime is behind whatever has happened, by any clock.
var endOfTime = time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC)

// Operations returns a page of operations.
func (s *Service) Operations(ctx context.Context, q OperationQuery) (OperationPage, error) {
	r := OperationRange{Kind: q.Kind, State: q.State, Limit: historySize(q.Size)}
	r.Behind = OperationPosition{Time: endOfTime, ID: uuid.Max}
	if q.Token != "" && !openJSON(q.bound(), q.Token, &r.Behind) {
		return OperationPage{}, badHistoryToken("must be the nextPageToken of a page with the same parameters")
	}
	found, more, err := s.store.Operations(ctx, r)
	if err != nil {
		return OperationPage{}, err
	}
	page := OperationPage{Operations: found}
	if more {
		last := found[len(found)-1]
		page.NextToken = sealJSON(q.bound(), OperationPosition{last.Create, last.ID})
	}
	return page, nil
}

func (q OperationQuery) bound() []byte { return fmt.Appendf(nil, "o1|%q|%q", q.Kind, q.State) }

// CancelOperation stops an operation between two of its transactions, and takes
// back what it did if the caller wants that. Cancelling what is being stopped, or
// undoing what is being undone, changes nothing. A request that was made before
// gets the operation as it is now.
func (s *Service) CancelOperation(ctx context.Context, id uuid.UUID, by By, undo bool) (Operation, error) {
	var err error
	if by.Once, err = by.Once.of("stop", id, undo); err != nil {
		return Operation{}, err
	}
	inTime := false
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		earlier, err := tx.Kept(ctx, by)
		if inTime = earlier != uuid.Nil; err != nil || inTime {
			return err
		}
		if inTime, err = tx.StopOperation(ctx, id, by.Actor, undo); err != nil || !inTime {
			return err
		}
		return tx.KeepOperation(ctx, by, id)
	})
	if err != nil {
		return Operation{}, err
	}
	o, err := s.store.Operation(ctx, id)
	if err == nil && !inTime {
		err = OperationFinished(o.State)
	}
	return o, err
}

// UndoOperation takes back what a clean did. One that is still under way is
// cancelled first.
func (s *Service) UndoOperation(ctx context.Context, id uuid.UUID, by By) (Operation, error) {
	return s.CancelOperation(ctx, id, by, true)
}
