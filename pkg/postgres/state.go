package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// SetState implements preferences.Store: it waits for every writer that has
// looked for the tombstone and has not committed yet; later ones see it.
func (s *Store) SetState(ctx context.Context, st preferences.State) error {
	key := entityBucket(st.Entity)
	if st.Entity.Type == preferences.UserType {
		key = userBucket(st.Entity.ID)
	}
	d := st.Delivery
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("bucketexclusive", key),
			run("entitystate", st.Entity.Type, st.Entity.ID, st.Deleted, st.At, st.Source, d.Consumer, d.Topic, d.EventID),
			run(commit))
	})
	crashpoint.Hit("state.recorded")
	return err
}
