package preferences

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// RunRequest is what a run is asked for, an operation that looks at everything.
// One of a kind is open at a time.
type RunRequest struct {
	DryRun bool `json:"dryRun,omitempty"` // report, and change nothing
}

// Reconcile begins to compare all lists with what the owners of entities have. A
// dry run only reports.
func (s *Service) Reconcile(ctx context.Context, by By, dryRun bool) (Operation, error) {
	if len(s.directories) == 0 {
		return Operation{}, nobodyToAsk()
	}
	return s.BeginRun(ctx, by, KindReconcile, RunRequest{DryRun: dryRun})
}

// BeginRun begins a run, unless one that was asked for the same is under way:
// then that one is returned. A request that was made before gets the run of then.
func (s *Service) BeginRun(ctx context.Context, by By, kind OperationKind, want RunRequest) (Operation, error) {
	h := Held{ID: NewID(), Kind: kind, Actor: by.Actor}
	h.Cause = "operation:" + h.ID.String()
	var err error
	if h.Request, err = json.Marshal(want); err != nil {
		return Operation{}, fmt.Errorf("encode request: %w", err)
	}
	if by.Once, err = by.Once.of(kind, want); err != nil {
		return Operation{}, err
	}
	open, asked := uuid.Nil, want
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) (err error) {
		asked = want
		if open, err = tx.Kept(ctx, by); err != nil || open != uuid.Nil {
			return err
		}
		if open, asked, err = tx.OpenRun(ctx, h); err != nil || asked != want {
			return err
		}
		return tx.KeepOperation(ctx, by, open)
	})
	switch {
	case err != nil:
		return Operation{}, err
	case asked != want:
		return Operation{}, otherRunOpen(open)
	}
	return s.store.Operation(ctx, open)
}

func otherRunOpen(id uuid.UUID) error {
	name := "operations/" + id.String()
	return fault.New(fault.Exists, fault.ReasonAlreadyExists, "A run that was asked for something else is under way, %s. Begin this one when it has ended.", name).
		With("id", id.String()).With("resourceName", name)
}

func nobodyToAsk() error {
	return fault.New(fault.Unavailable, fault.ReasonOwnerUnavailable,
		"This deployment does not know whom to ask which entities exist; PREFS_DIRECTORY_URL tells it.")
}
