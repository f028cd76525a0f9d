package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// SetState implements preferences.Store: it waits for every writer that has
// looked for the tombstone and has not committed yet; later ones see it. A
// runner that has lost its operation must not come late: the operation may have
// been undone, and nobody would take its state back again.
func (s *Store) SetState(ctx context.Context, st preferences.State) error {
	key := entityBucket(st.Entity)
	if st.Entity.Type == preferences.UserType {
		key = userBucket(st.Entity.ID)
	}
	d := st.Delivery
	steps := []step{run("begin"), run("bucketexclusive", key)}
	owners := st.Held.ID == uuid.Nil
	if !owners {
		steps = append(steps, run("oplock", st.Held.ID, st.Held.Epoch))
	}
	if st.Lead > 0 {
		steps = append(steps, run("guardtime", st.At, st.Lead.Seconds()))
	}
	word := []any{st.Entity.Type, st.Entity.ID, st.Deleted, st.At, st.Source, d.Consumer, d.Topic, d.EventID}
	steps = append(steps, run("entitystate", append(word, owners)...))
	if owners {
		steps = append(steps, run("ownersword", word...))
	}
	steps = append(steps, run(commit))
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return owned(send(ctx, c, steps...)) })
	crashpoint.Hit("state.recorded")
	if refused(err, "guardtime") {
		return fault.New(fault.Invalid, fault.ReasonInvalidField, "The event's time is more than %s ahead.", st.Lead).Because(err)
	}
	return err
}
