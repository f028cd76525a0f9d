package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/events"
)

// EraseUser implements preferences.Tx. It holds the user's bucket shared: a user
// who comes back either is seen here or waits until the lists are gone. Locking
// and erasing are two statements, because the second has to see what the
// writers have committed that the first waited for.
func (t *tx) EraseUser(ctx context.Context, userID string) ([]events.ErasedList, bool, error) {
	var deleted bool
	if err := t.send(ctx, bucketShared([]int64{userBucket(userID)}), run("userdeleted", userID).first(&deleted)); err != nil || !deleted {
		return nil, false, err
	}
	var lists []events.ErasedList
	erase := all(run("usererase", userID), &lists, pgx.RowToStructByPos[events.ErasedList])
	return lists, true, t.send(ctx, run("userlock", userID), erase)
}
