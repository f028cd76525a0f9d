package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

// snapshot implements verify.Source on one REPEATABLE READ transaction, so
// that everything it shows happened at one moment.
type snapshot struct{ db *gorm.DB }

// patient is for one transaction that reads everything there is: no statement
// of it has to be quick, and none is planned as if only its first rows mattered.
// Who stops to read does not hold back vacuum for ever.
var patient = []string{
	"set local statement_timeout = 0", "set local idle_in_transaction_session_timeout = '30min'", "set local cursor_tuple_fraction = 1",
}

// Snapshot lets fn look at the database as it is now. A standby will do.
func (s *Store) Snapshot(ctx context.Context, fn func(verify.Source) error) error {
	still := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	return translate(s.db.WithContext(ctx).Transaction(func(db *gorm.DB) error {
		for _, setting := range patient {
			if err := db.Exec(setting).Error; err != nil {
				return err
			}
		}
		return fn(snapshot{db})
	}, still))
}

// cursorBatch is how many rows of a cursor are read at a time.
const cursorBatch = 1000

// stream reads a query of any size by a cursor, which lets other statements of
// the transaction run in between.
func stream[T any](db *gorm.DB, cursor, query string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if err := db.Exec("declare " + cursor + " no scroll cursor for " + query).Error; err != nil {
			yield(none, err)
			return
		}
		defer db.Exec("close " + cursor)
		for {
			var rows []T
			if err := db.Raw(fmt.Sprintf("fetch %d from %s", cursorBatch, cursor)).Scan(&rows).Error; err != nil {
				yield(none, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(rows) < cursorBatch {
				return
			}
		}
	}
}

// turned makes something else of each row.
func turned[A, B any](rows iter.Seq2[A, error], turn func(A) (B, error)) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		for row, err := range rows {
			var out B
			if err == nil {
				out, err = turn(row)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// kept are the events of ours that the outbox has, and those that are out of the
// relay's reach: they wait in quarantine, or were dropped there. Dead letters are
// no events of ours.
const kept = `(
	select xid, id, event_id, type, topic, aggregateid, aggregate_seq, payload, created_at, false as quarantined
		from outbox where schema_version > 0
	union all select xid, id, event_id, type, topic, aggregateid, aggregate_seq, payload, created_at, true
		from outbox_quarantine where schema_version > 0 and (resolved_at is null or decision = 'drop')) o `

// waiting says that no relay has come to a row.
const waiting = `not exists (select from outbox_relays r where pg_visible_in_snapshot(o.xid, r.snapshot::pg_snapshot)
	or o.id <= r.window_id and pg_visible_in_snapshot(o.xid, r.window_snapshot::pg_snapshot)) `

// Kept implements verify.Source: while the first row is there, none was pruned.
func (s snapshot) Kept(context.Context) (time.Time, error) {
	var first sql.NullTime
	err := s.db.Raw("select min(created_at) from outbox where id = 1").Scan(&first).Error
	return first.Time.UTC(), err
}

// Twins implements verify.Source.
func (s snapshot) Twins(context.Context) (ids []uuid.UUID, err error) {
	err = s.db.Raw("select id from preferences group by id having count(*) > 1 limit 1000").Scan(&ids).Error
	return ids, err
}

// verifyBatch is how many lists are read at a time.
const verifyBatch = 500

type verifyHeadRow struct {
	ListID         int64
	UserID, Domain string
	Version        int64
	Gaps           bool
	UpdatedAt      time.Time
}

type verifyItemRow struct {
	ID                   uuid.UUID
	ListID               int64
	EntityType, EntityID string
	Position, Version    int32
	Attributes           string
	CreatedAt, UpdatedAt time.Time
}

type verifyChangeRow struct {
	ListID, Version      int64
	ChangedAt            time.Time
	Gaps                 bool
	Action, Actor, Delta string
}

type verifyToldRow struct {
	ListID, Version             int64
	Cause, EntityType, EntityID string
	Quarantined                 bool
}

// told are the versions that the events of the outbox name, by list.
const told = `select (e.data->>'listId')::bigint as list_id, (e.data->>'version')::bigint as version, '' as cause, '' as entity_type, '' as entity_id, e.quarantined
	from (select convert_from(payload, 'UTF8')::json->'data' as data, quarantined from ` + kept + `where type = 'preferences.updated') e
	union all select (t->>'listId')::bigint, (t->>'version')::bigint, e.data->>'cause', e.data->>'entityType', e.data->>'entityId', e.quarantined
	from (select convert_from(payload, 'UTF8')::json->'data' as data, quarantined from ` + kept + `where type = 'preferences.cleaned') e
		cross join json_array_elements(e.data->'lists') t
	order by list_id`

// Lists implements verify.Source; it reads in batches.
func (s snapshot) Lists(context.Context) iter.Seq2[verify.History, error] {
	return func(yield func(verify.History, error) bool) {
		next, stop := iter.Pull2(stream[verifyToldRow](s.db, "told", told))
		defer stop()
		t, err, more := next()
		for after := int64(0); err == nil; {
			var batch []verify.History
			if batch, err = s.histories(after); len(batch) == 0 {
				break
			}
			for _, h := range batch {
				after = h.List.ID
				for ; more && err == nil && t.ListID <= after; t, err, more = next() {
					if t.ListID == after { // others are of lists that were erased
						h.Told = append(h.Told, t.told())
					}
				}
				if err != nil {
					break
				}
				if !yield(h, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(verify.History{}, err)
		}
	}
}

func (t verifyToldRow) told() verify.Told {
	return verify.Told{
		Version: t.Version, Quarantined: t.Quarantined,
		Clean: verify.Clean{Cause: t.Cause, Entity: preferences.Entity{Type: t.EntityType, ID: t.EntityID}},
	}
}

// histories reads the next lists.
func (s snapshot) histories(after int64) ([]verify.History, error) {
	var heads []verifyHeadRow
	err := s.db.Raw(`select list_id, user_id, domain, version, gaps, updated_at from preference_lists
		where list_id > ? order by list_id limit ?`, after, verifyBatch).Scan(&heads).Error
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	all := make([]verify.History, len(heads))
	byID := make(map[int64]*verify.History, len(heads))
	for i, h := range heads {
		all[i].List = preferences.List{
			ID: h.ListID, UserID: h.UserID, Domain: h.Domain, Version: h.Version, Gaps: h.Gaps, UpdateTime: h.UpdatedAt.UTC(),
		}
		byID[h.ListID] = &all[i]
	}
	from, to := heads[0].ListID, heads[len(heads)-1].ListID
	if err := errors.Join(s.items(from, to, byID), s.changes(from, to, byID)); err != nil {
		return nil, err
	}
	for i := range all {
		all[i].List.Number()
	}
	return all, nil
}

func (s snapshot) items(from, to int64, all map[int64]*verify.History) error {
	var items []verifyItemRow
	err := s.db.Raw(`select id, list_id, entity_type, entity_id, position, version, attributes::text as attributes, created_at, updated_at
		from preferences where list_id between ? and ?`, from, to).Scan(&items).Error
	for _, it := range items {
		h := all[it.ListID] // the foreign key sees to it that there is one
		h.List.Items = append(h.List.Items, preferences.Item{
			ID: it.ID, EntityType: it.EntityType, EntityID: it.EntityID, Attributes: json.RawMessage(it.Attributes),
			Version: it.Version, CreateTime: it.CreatedAt.UTC(), UpdateTime: it.UpdatedAt.UTC(), Position: it.Position,
		})
	}
	return err
}

func (s snapshot) changes(from, to int64, all map[int64]*verify.History) error {
	var changes []verifyChangeRow
	err := s.db.Raw(`select list_id, version, changed_at, gaps, action, actor, delta::text as delta
		from changes where list_id between ? and ? order by list_id, version`, from, to).Scan(&changes).Error
	for _, c := range changes {
		h := all[c.ListID]
		if h == nil {
			continue // what a list left that was erased
		}
		change := verify.Change{Version: c.Version, Time: c.ChangedAt.UTC(), Gaps: c.Gaps, Action: c.Action, Actor: c.Actor}
		if err := json.Unmarshal([]byte(c.Delta), &change.Delta); err != nil {
			return fmt.Errorf("delta of list %d version %d: %w", c.ListID, c.Version, err)
		}
		h.Changes = append(h.Changes, change)
	}
	return err
}

type verifyTombstoneRow struct {
	EntityType, EntityID string
	ListID               int64
	Cleaned              bool
}

// Tombstones implements verify.Source.
func (s snapshot) Tombstones(context.Context) iter.Seq2[verify.Tombstone, error] {
	rows := stream[verifyTombstoneRow](s.db, "tombstones", `select d.entity_type, d.entity_id, p.list_id, d.cleaned_at is not null as cleaned
		from deleted_entities d join preferences p using (entity_type, entity_id) where d.deleted
		union all select d.entity_type, d.entity_id, l.list_id, d.cleaned_at is not null
		from deleted_entities d join preference_lists l on l.user_id = d.entity_id where d.entity_type = '`+preferences.UserType+`' and d.deleted`)
	return turned(rows, func(r verifyTombstoneRow) (verify.Tombstone, error) {
		return verify.Tombstone{Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID}, ListID: r.ListID, Cleaned: r.Cleaned}, nil
	})
}

type verifyPartRow struct {
	ID      int64
	Payload []byte
}

// Parts implements verify.Source.
func (s snapshot) Parts(context.Context) iter.Seq2[events.Cleaned, error] {
	rows := stream[verifyPartRow](s.db, "parts", `select id, payload
		from (select id, payload, convert_from(payload, 'UTF8')::json->'data' as data from `+kept+`where type = 'preferences.cleaned') e
		order by data->>'cause' collate "C", data->>'entityType' collate "C", data->>'entityId' collate "C", id`)
	return turned(rows, func(r verifyPartRow) (events.Cleaned, error) {
		var envelope struct{ Data events.Cleaned }
		if err := json.Unmarshal(r.Payload, &envelope); err != nil {
			return events.Cleaned{}, fmt.Errorf("outbox row %d: %w", r.ID, err)
		}
		return envelope.Data, nil
	})
}

type verifyOperationRow struct {
	Cause, EntityType, EntityID, State string
	CreatedAt                          time.Time
}

// CleanOperations implements verify.Source.
func (s snapshot) CleanOperations(context.Context) iter.Seq2[verify.CleanOperation, error] {
	// What is pending in an operation that has ended was never begun: there is nothing to say about it.
	rows := stream[verifyOperationRow](s.db, "operations_of_cleans", `select o.cause, t.entity_type, t.entity_id, t.state, o.created_at
		from operations o join operation_steps t on t.operation_id = o.id
		where o.kind in ('cleanEntity', 'bulkClean') and (t.state <> 'pending' or o.state in ('pending', 'running'))
		order by o.cause collate "C", t.entity_type collate "C", t.entity_id collate "C", o.created_at`)
	return turned(rows, func(r verifyOperationRow) (verify.CleanOperation, error) {
		return verify.CleanOperation{
			Clean: verify.Clean{Cause: r.Cause, Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID}}, Created: r.CreatedAt.UTC(),
			Open: r.State == "pending" || r.State == "running", Failed: r.State == "failed" || r.State == "cancelled",
		}, nil
	})
}

type verifyEffectRow struct {
	Cause, EntityType, EntityID      string
	Deletes, Cleans, Marked, Applied bool
}

// Effects implements verify.Source. An effect is no older than its mark.
func (s snapshot) Effects(_ context.Context, longer time.Duration) iter.Seq2[verify.Effect, error] {
	rows := stream[verifyEffectRow](s.db, "effects", fmt.Sprintf(`select e.cause, e.entity_type, e.entity_id, bool_or(e.deletes) as deletes, bool_or(e.cleans) as cleans,
			bool_or(i.event_id is not null) as marked, bool_or(i.outcome is not distinct from 'applied') as applied
		from (
			select source as cause, entity_type, entity_id, deleted as deletes, cleaned_at is not null as cleans, recorded_at as at
			from deleted_entities
			union all
			select o.cause, t.entity_type, t.entity_id, false, true, o.created_at from operations o join operation_steps t on t.operation_id = o.id
			where o.kind in ('cleanEntity', 'bulkClean')) e
		left join inbox i on i.event_id = substr(e.cause, length('event:') + 1)
		where e.cause like 'event:%%' and e.at <= %s
			and (i.event_id is not null or e.at >= coalesce((select min(processed_at) from inbox), '-infinity'))
		group by e.cause, e.entity_type, e.entity_id order by e.cause`, ago(longer)))
	return turned(rows, func(r verifyEffectRow) (verify.Effect, error) {
		return verify.Effect{
			Cause: r.Cause, Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID},
			Deletes: r.Deletes, Cleans: r.Cleans, Marked: r.Marked, Applied: r.Applied,
		}, nil
	})
}

type verifyOutboxRow struct {
	ID                   int64
	EventID              uuid.UUID
	Type, Topic          string
	Aggregateid          string
	AggregateSeq         int64
	Payload              []byte
	CreatedAt            time.Time
	Quarantined, Waiting bool
}

// Outbox implements verify.Source.
func (s snapshot) Outbox(context.Context) iter.Seq2[verify.OutboxRow, error] {
	rows := stream[verifyOutboxRow](s.db, "events", `select id, event_id, type, topic, aggregateid, aggregate_seq, payload, created_at, quarantined, `+waiting+`as waiting from `+kept)
	return turned(rows, func(r verifyOutboxRow) (verify.OutboxRow, error) {
		return verify.OutboxRow{
			ID: r.ID, EventID: r.EventID, Type: events.Type(r.Type), Topic: r.Topic, Key: r.Aggregateid, Sequence: r.AggregateSeq,
			Payload: r.Payload, Time: r.CreatedAt.UTC(), Quarantined: r.Quarantined, Waiting: r.Waiting,
		}, nil
	})
}

// OpenWork implements verify.Source. What waits for its turn behind others does
// not stand still, and a comparison that failed is over once one has succeeded.
func (s snapshot) OpenWork(_ context.Context, longer time.Duration) (verify.OpenWork, error) {
	var w verify.OpenWork
	err := s.db.Raw(`with t as (select ` + ago(longer) + ` as long_ago)
		select
		(select count(*) from operations, t where state in ('pending', 'running', 'compensating')
			and greatest(created_at, lease_until, next_attempt_at) <= long_ago
			and (long_ago = 'infinity' or state <> 'pending' or not exists (select from operations where lease_until > now()))) as operations,
		(select count(*) from operations o where state = 'failed' and (kind in ('cleanEntity', 'bulkClean')
			or not exists (select from operations l where l.kind = o.kind and l.state = 'succeeded' and l.created_at > o.created_at))) as failed,
		(select count(*) from outbox_quarantine, t where resolved_at is null and quarantined_at <= long_ago) as quarantined,
		(select count(*) from outbox o, t where created_at <= long_ago and ` + waiting + `) as unpublished`).Scan(&w).Error
	return w, err
}

// ago is that long before the snapshot, and for ever where it is not long.
func ago(longer time.Duration) string {
	if longer <= 0 {
		return "timestamptz 'infinity'"
	}
	return fmt.Sprintf("now() - interval '%f seconds'", longer.Seconds())
}
