package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
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

// Snapshot lets fn look at the database as it is now.
func (s *Store) Snapshot(ctx context.Context, fn func(verify.Source) error) error {
	still := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	return translate(s.db.WithContext(ctx).Transaction(func(db *gorm.DB) error { return fn(snapshot{db}) }, still))
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
	ListID, Version int64
	ChangedAt       time.Time
	Gaps            bool
	Action, Delta   string
}

// Lists implements verify.Source; it reads in batches.
func (s snapshot) Lists(_ context.Context, fn func(verify.History) error) error {
	for after := int64(0); ; {
		var heads []verifyHeadRow
		err := s.db.Raw(`select list_id, user_id, domain, version, gaps, updated_at from preference_lists
			where list_id > ? order by list_id limit ?`, after, verifyBatch).Scan(&heads).Error
		if err != nil || len(heads) == 0 {
			return err
		}
		after = heads[len(heads)-1].ListID
		if err := s.histories(heads, fn); err != nil {
			return err
		}
	}
}

func (s snapshot) histories(heads []verifyHeadRow, fn func(verify.History) error) error {
	all := make(map[int64]*verify.History, len(heads))
	for _, h := range heads {
		all[h.ListID] = &verify.History{List: preferences.List{
			ID: h.ListID, UserID: h.UserID, Domain: h.Domain, Version: h.Version, Gaps: h.Gaps, UpdateTime: h.UpdatedAt.UTC(),
		}}
	}
	from, to := heads[0].ListID, heads[len(heads)-1].ListID
	if err := s.items(from, to, all); err != nil {
		return err
	}
	if err := s.changes(from, to, all); err != nil {
		return err
	}
	for _, h := range heads {
		history := all[h.ListID]
		history.List.Number()
		if err := fn(*history); err != nil {
			return err
		}
	}
	return nil
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
	err := s.db.Raw(`select list_id, version, changed_at, gaps, action, delta::text as delta
		from changes where list_id between ? and ? order by list_id, version`, from, to).Scan(&changes).Error
	for _, c := range changes {
		h := all[c.ListID]
		if h == nil {
			continue // what a list left that was erased
		}
		change := verify.Change{Version: c.Version, Time: c.ChangedAt.UTC(), Gaps: c.Gaps, Action: c.Action}
		if err := json.Unmarshal([]byte(c.Delta), &change.Delta); err != nil {
			return fmt.Errorf("delta of list %d version %d: %w", c.ListID, c.Version, err)
		}
		h.Changes = append(h.Changes, change)
	}
	return err
}

// Tombstones implements verify.Source.
func (s snapshot) Tombstones(context.Context) ([]verify.Tombstone, error) {
	var rows []struct {
		EntityType, EntityID string
		ListID               int64
		Cleaned              bool
	}
	err := s.db.Raw(`select d.entity_type, d.entity_id, p.list_id, d.cleaned_at is not null as cleaned
		from deleted_entities d join preferences p using (entity_type, entity_id) where d.deleted
		union all select d.entity_type, d.entity_id, l.list_id, d.cleaned_at is not null
		from deleted_entities d join preference_lists l on l.user_id = d.entity_id where d.entity_type = ? and d.deleted`, preferences.UserType).Scan(&rows).Error
	out := make([]verify.Tombstone, len(rows))
	for i, r := range rows {
		out[i] = verify.Tombstone{Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID}, ListID: r.ListID, Cleaned: r.Cleaned}
	}
	return out, err
}

// Cleans implements verify.Source.
func (s snapshot) Cleans(context.Context) ([]verify.CleanChange, error) {
	var rows []struct {
		Cause, UserID, EntityType, EntityID string
		ListID, Version                     int64
		ChangedAt                           time.Time
	}
	err := s.db.Raw(`select c.actor as cause, l.user_id, c.list_id, c.version, c.changed_at,
		coalesce(c.delta->'removed'->0->>'entityType', '') as entity_type, coalesce(c.delta->'removed'->0->>'entityId', '') as entity_id
		from changes c join preference_lists l using (list_id) where c.action = 'clean' order by c.actor, c.list_id, c.version`).Scan(&rows).Error
	out := make([]verify.CleanChange, len(rows))
	for i, r := range rows {
		out[i] = verify.CleanChange{
			Cause: r.Cause, UserID: r.UserID, Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID},
			ListID: r.ListID, Version: r.Version, Time: r.ChangedAt.UTC(),
		}
	}
	return out, err
}

// CleanOperations implements verify.Source.
func (s snapshot) CleanOperations(context.Context) ([]verify.CleanOperation, error) {
	var rows []struct {
		Cause, EntityType, EntityID, State string
		CreatedAt                          time.Time
	}
	// What is pending in an operation that has ended was never begun: there is nothing to say about it.
	err := s.db.Raw(`select o.cause, t.entity_type, t.entity_id, t.state, o.created_at
		from operations o join operation_steps t on t.operation_id = o.id
		where o.kind in ('cleanEntity', 'bulkClean') and (t.state <> 'pending' or o.state in ('pending', 'running')) order by o.created_at`).Scan(&rows).Error
	out := make([]verify.CleanOperation, len(rows))
	for i, r := range rows {
		out[i] = verify.CleanOperation{
			Cause: r.Cause, Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID}, Created: r.CreatedAt.UTC(),
			Open: r.State == "pending" || r.State == "running", Failed: r.State == "failed" || r.State == "cancelled",
		}
	}
	return out, err
}

// Effects implements verify.Source.
func (s snapshot) Effects(context.Context) ([]verify.Effect, error) {
	var rows []struct {
		Cause, EntityType, EntityID      string
		Deletes, Cleans, Marked, Applied bool
	}
	err := s.db.Raw(`select e.cause, e.entity_type, e.entity_id, bool_or(e.deletes) as deletes, bool_or(e.cleans) as cleans,
			bool_or(i.event_id is not null) as marked, bool_or(i.outcome is not distinct from 'applied') as applied
		from (
			select source as cause, entity_type, entity_id, deleted as deletes, entity_type = ? and cleaned_at is not null as cleans
			from deleted_entities
			union all
			select o.cause, t.entity_type, t.entity_id, false, true from operations o join operation_steps t on t.operation_id = o.id
			where o.kind in ('cleanEntity', 'bulkClean')) e
		left join inbox i on i.event_id = substr(e.cause, length('event:') + 1)
		where e.cause like 'event:%' group by e.cause, e.entity_type, e.entity_id order by e.cause`, preferences.UserType).Scan(&rows).Error
	out := make([]verify.Effect, len(rows))
	for i, r := range rows {
		out[i] = verify.Effect{
			Cause: r.Cause, Entity: preferences.Entity{Type: r.EntityType, ID: r.EntityID},
			Deletes: r.Deletes, Cleans: r.Cleans, Marked: r.Marked, Applied: r.Applied,
		}
	}
	return out, err
}

// Outbox implements verify.Source. Dead letters are not events of ours and are
// left out.
func (s snapshot) Outbox(context.Context) ([]verify.OutboxRow, error) {
	var rows []struct {
		ID           int64
		EventID      uuid.UUID
		Type, Topic  string
		Aggregateid  string
		AggregateSeq int64
		Payload      []byte
		CreatedAt    time.Time
		Quarantined  bool
	}
	err := s.db.Raw(`select id, event_id, type, topic, aggregateid, aggregate_seq, payload, created_at, false as quarantined
			from outbox where schema_version > 0
		union all select id, event_id, type, topic, aggregateid, aggregate_seq, payload, created_at, true
			from outbox_quarantine where schema_version > 0 and resolved_at is null order by id`).Scan(&rows).Error
	out := make([]verify.OutboxRow, len(rows))
	for i, r := range rows {
		out[i] = verify.OutboxRow{
			ID: r.ID, EventID: r.EventID, Type: events.Type(r.Type), Topic: r.Topic, Key: r.Aggregateid, Sequence: r.AggregateSeq,
			Payload: r.Payload, Time: r.CreatedAt.UTC(), Quarantined: r.Quarantined,
		}
	}
	return out, err
}

// OpenWork implements verify.Source.
func (s snapshot) OpenWork(context.Context) (verify.OpenWork, error) {
	var w verify.OpenWork
	err := s.db.Raw(`select
		(select count(*) from operations where state in ('pending', 'running', 'compensating')) as operations,
		(select count(*) from outbox_quarantine where resolved_at is null) as quarantined,
		(select count(*) from operations where state = 'failed') as failed`).Scan(&w).Error
	return w, err
}
