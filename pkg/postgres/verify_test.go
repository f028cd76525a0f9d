package postgres_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

// lived is a database with a story behind it: lists, a clean in parts, a clean
// that leaves gaps, a restoration, and a clean of nothing.
func lived(t *testing.T) *house {
	t.Helper()
	h := openUnchecked(t, pgtest.New(t))
	h.save(t, "u1", "a", "x", "b", "g", "c")
	h.save(t, "u2", "x", "g", "a")
	h.save(t, "u1", "c", "a", "x", "g", "b")
	free := h.hold(t, "u2")
	_, open := h.remove(t, "e1", "x", time.Now())
	require.True(t, open)
	free()
	h.sweepOne(t)
	_, err := h.CleanOrphaned(t.Context(), alice, account("g"), false)
	require.NoError(t, err)
	h.remove(t, "e2", "nowhere", time.Now())
	_, err = h.EntityRestored(t.Context(), delivery("e3"), account("x"), time.Now())
	require.NoError(t, err)
	h.save(t, "u2", "a", "x")
	h.published(t)
	return h
}

// published lets a relay have come to all that is in the outbox.
func (h *house) published(t *testing.T) {
	t.Helper()
	_, err := h.admin.Exec(t.Context(), "insert into outbox_relays (name, snapshot) values ('main', pg_current_snapshot()::text)")
	require.NoError(t, err)
}

// hold keeps a user's list locked until it is told to let go.
func (h *house) hold(t *testing.T, user string) (free func()) {
	t.Helper()
	tx, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select 1 from preference_lists where user_id = $1 for no key update", user)
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback(t.Context())) }
}

// broken names the invariants that do not hold, each once.
func (h *house) broken(t *testing.T) []string {
	t.Helper()
	out := []string{}
	require.NoError(t, h.store.Snapshot(t.Context(), func(src verify.Source) error {
		report, err := verify.Database(t.Context(), src)
		quiet, failed := verify.Quiet(t.Context(), src, 0)
		for _, f := range append(report.Findings, quiet.Findings...) {
			out = append(out, f.Invariant)
		}
		return errors.Join(err, failed)
	}))
	slices.Sort(out)
	return slices.Compact(out)
}

func TestALifeLeavesASoundDatabase(t *testing.T) {
	t.Parallel()
	h := lived(t)
	require.Empty(t, h.broken(t))
	require.NoError(t, h.store.Snapshot(t.Context(), func(src verify.Source) error {
		report, err := verify.Database(t.Context(), src)
		require.Equal(t, verify.Report{Lists: 2, Items: 5, Changes: 8, Events: 8, Cleans: 3}, report)
		return err
	}))
}

func TestDamagedRowsBreakTheirInvariant(t *testing.T) {
	t.Parallel()
	const u1, u2 = "(select list_id from preference_lists where user_id = 'u1')", "(select list_id from preference_lists where user_id = 'u2')"
	const u3 = "(select list_id from preference_lists where user_id = 'u3')"
	const add = "insert into preferences (id, list_id, entity_type, entity_id, position) "
	for name, tc := range map[string]struct {
		damage string
		broken []string
	}{
		"two items at one position":          {"update preferences set position = 3 where list_id = " + u1, []string{"I1", "I8"}},
		"an entity twice":                    {"alter table preferences drop constraint preferences_list_entity; " + add + "select gen_random_uuid(), list_id, entity_type, entity_id, 9 from preferences where list_id = " + u2 + " and entity_id = 'a'", []string{"I1", "I11", "I8"}},
		"an item of a cleaned entity":        {add + "select gen_random_uuid(), " + u2 + ", 'account', 'g', 9", []string{"I11", "I2", "I8"}},
		"a version is gone":                  {"delete from changes where version = 2 and list_id = " + u1, []string{"I3", "I8"}},
		"the last version is gone":           {"delete from changes where version = 4 and list_id = " + u1, []string{"I11", "I3", "I6", "I8"}},
		"the head is behind":                 {"update preference_lists set version = version - 1 where user_id = 'u2'", []string{"I3"}},
		"the head has another time":          {"update preference_lists set updated_at = updated_at + interval '1 us' where user_id = 'u1'", []string{"I3"}},
		"the gaps are forgotten":             {"update preference_lists set gaps = false where user_id = 'u1'", []string{"I3", "I8"}},
		"a version lost its event":           {"delete from outbox where aggregate_seq = 2 and aggregateid = 'u1'", []string{"I4"}},
		"the last version lost its event":    {"delete from outbox where aggregate_seq = 4 and aggregateid = 'u2'", []string{"I4"}},
		"the final part is gone":             {"delete from outbox where aggregateid = 'x' and id = (select max(id) from outbox where aggregateid = 'x')", []string{"I6"}},
		"the first part is gone":             {"delete from outbox where aggregateid = 'x' and id = (select min(id) from outbox where aggregateid = 'x')", []string{"I6"}},
		"all parts are gone":                 {"delete from outbox where aggregateid = 'g'", []string{"I6"}},
		"a clean of nothing said nothing":    {"delete from outbox where aggregateid = 'nowhere'", []string{"I6"}},
		"a clean is open after its end":      {"with o as (update operations set state = 'pending' where cause = 'event:e1' returning id) update operation_steps set state = 'running' from o where id = operation_id", []string{"I6", "I9"}},
		"a clean failed that said complete":  {"with o as (update operations set state = 'failed' where cause = 'event:e1' returning id) update operation_steps set state = 'failed' from o where id = operation_id", []string{"I6", "I9"}},
		"the inbox forgot a deletion":        {"delete from inbox where event_id = 'e2'", []string{"I7"}},
		"the inbox forgot a restoration":     {"delete from inbox where event_id = 'e3'", []string{"I7"}},
		"an event is marked and not done":    {"delete from operations where cause = 'event:e2'; update deleted_entities set cleaned_at = null where source = 'event:e2'", []string{"I7"}},
		"an operation was forgotten":         {"delete from operations where cause = 'event:e2'", []string{}},
		"an attribute nobody wrote":          {`update preferences set attributes = '{"f": 1}' where entity_id = 'b'`, []string{"I8"}},
		"an item is gone":                    {"delete from preferences where entity_id = 'b'", []string{"I11", "I8"}},
		"an item refers to something else":   {"update preferences set entity_id = 'z' where entity_id = 'b'", []string{"I8"}},
		"an item stands in two lists":        {"alter table preferences drop constraint preferences_pkey; " + add + "select id, " + u2 + ", entity_type, entity_id, 9 from preferences where entity_id = 'c'", []string{"I11", "I8"}},
		"two items have one tag":             {"alter table preferences drop constraint preferences_pkey; insert into preference_lists (user_id, domain) values ('u3', 'accounts'); insert into preferences select id, " + u3 + ", created_at, updated_at, position, version, entity_type, entity_id, attributes from preferences where list_id = " + u2, []string{"I10", "I3"}},
		"an erased user has a list":          {"insert into deleted_entities values ('$user', 'u2', true, now(), 'operation:0', now(), now())", []string{"I2"}},
		"a user's deletion erased nothing":   {"insert into deleted_entities values ('$user', 'u9', true, now(), 'event:e9', now()); insert into inbox values ('c', 't', 'e9', 0, 0, now(), 'applied')", []string{"I7"}},
		"no relay has run":                   {"delete from outbox_relays", []string{"I9"}},
		"an event is behind the relay":       {"update outbox set xid = pg_current_xact_id() where id = 1", []string{"I9"}},
		"an operation of no clean failed":    {"insert into operations (id, kind, state, actor, request) values (gen_random_uuid(), 'reconcile', 'failed', 'a', '{}')", []string{"I9"}},
		"a comparison succeeded since":       {"insert into operations (id, kind, state, actor, request, created_at) values (gen_random_uuid(), 'reconcile', 'failed', 'a', '{}', now()), (gen_random_uuid(), 'reconcile', 'succeeded', 'a', '{}', now() + interval '1 s')", []string{}},
		"the inbox was pruned":               {"delete from inbox where event_id in ('e1', 'e2'); update deleted_entities set recorded_at = '2020-01-01' where source in ('event:e1', 'event:e2'); update operations set created_at = '2020-01-01'", []string{}},
		"a deletion that is not cleaned yet": {"update deleted_entities set deleted = true, cleaned_at = null, source = 'operation:0' where entity_id = 'x'", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := lived(t)
			_, err := h.admin.Exec(t.Context(), tc.damage)
			require.NoError(t, err)
			require.Equal(t, tc.broken, h.broken(t))
		})
	}
}

func TestEventsInQuarantineAreWritten(t *testing.T) {
	t.Parallel()
	h := lived(t)
	_, err := h.admin.Exec(t.Context(), `with gone as (delete from outbox where aggregateid = 'x' returning *)
		insert into outbox_quarantine (event_id, xid, id, aggregatetype, aggregateid, aggregate_seq, type, schema_version, topic, headers, payload, created_at, attempts, reason, error)
		select event_id, xid, id, aggregatetype, aggregateid, aggregate_seq, type, schema_version, topic, headers, payload, created_at, 1, 'refused', '' from gone`)
	require.NoError(t, err)
	require.Equal(t, []string{"I9"}, h.broken(t), "they wait, and are not lost")
}

func TestASweepUnderWayIsSound(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "x")
	h.save(t, "u2", "x")
	free := h.hold(t, "u2")
	h.remove(t, "e1", "x", time.Now())
	free()
	require.Equal(t, []string{"I9"}, h.broken(t))
	require.Equal(t, []preferences.Entity{account("x")}, h.save(t, "u1", "x").Skipped)
}
