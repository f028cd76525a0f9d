package postgres

import (
	"hash/fnv"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Entities and users share a fixed number of advisory locks, in two classes.
// Whoever adds an entity to a list holds its bucket shared while it looks for a
// tombstone and until it commits; whoever records a state holds it exclusively.
// So a writer either is seen by the sweep or sees the tombstone.
const (
	buckets       = 64
	entityBuckets = int64(4242) << 32
	userBuckets   = int64(4243) << 32
	keyLocks      = int64(4244) << 32
)

func entityBucket(e preferences.Entity) int64 { return entityBuckets | bucket(e.Type, e.ID) }

func userBucket(id string) int64 { return userBuckets | bucket(preferences.UserType, id) }

// keyLock is the advisory lock of a caller's Idempotency-Key. Two keys that
// share it, which is rare, keep each other out as if they were the same.
func keyLock(user, key string) int64 { return keyLocks | hash(user, key) }

func bucket(typ, id string) int64 {
	return hash(typ, id) % buckets
}

func hash(a, b string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a + "\x00" + b)) // a hash never fails
	return int64(h.Sum32())
}

// guards takes the buckets of the items to add, ascending, and then looks for
// tombstones: two statements, because the second one's snapshot must be younger
// than the lock. Nothing to add needs none.
func guards(add []preferences.Item) []step {
	if len(add) == 0 {
		return nil
	}
	keys := make([]int64, len(add))
	for i, it := range add {
		keys[i] = entityBucket(it.Entity())
	}
	slices.Sort(keys)
	types, ids := entityColumns(add)
	return []step{bucketShared(slices.Compact(keys)), run("guardlive", types, ids)}
}

func bucketShared(keys []int64) step {
	if mutant.Is("no-bucket-lock") {
		keys = nil
	}
	return run("bucketshared", keys)
}

func scanEntity(row pgx.CollectableRow) (e preferences.Entity, err error) {
	err = row.Scan(&e.Type, &e.ID)
	return e, err
}
