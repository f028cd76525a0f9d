package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Head implements preferences.Store.
func (s *Store) Head(ctx context.Context, userID, domain string) (preferences.List, error) {
	l := preferences.List{UserID: userID, Domain: domain}
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("head", userID, domain).first(&l.ID, &l.Version, &l.UpdateTime))
	})
	l.UpdateTime = l.UpdateTime.UTC()
	return l, err
}

// List implements preferences.Store.
func (s *Store) List(ctx context.Context, key preferences.Key) (preferences.List, error) {
	var l preferences.List
	known := s.lists.find(key)
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return send(ctx, c, s.readList(key, known, &l)) })
	if err != nil {
		return l, err
	}
	s.lists.keep(l)
	if l.ID == 0 && key.Item != uuid.Nil {
		s.lists.drop(known)
		err = preferences.NotFound()
	}
	return l, err
}

// Item implements preferences.Store.
func (s *Store) Item(ctx context.Context, userID string, id uuid.UUID) (preferences.List, error) {
	var l preferences.List
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return send(ctx, c, readItem(id, userID, &l)) })
	if err == nil && len(l.Items) == 0 {
		err = preferences.NotFound()
	}
	return l, err
}

// readItem reads an item into l, alone, with the order that its readers see.
func readItem(id uuid.UUID, userID string, l *preferences.List) step {
	const most = preferences.MaxListAttributesBytes / preferences.MaxAttributesBytes // items that are never too large together
	st := run("item", id, userID, most)
	st.read = func(rows pgx.Rows) error {
		*l = preferences.List{UserID: userID}
		var order int
		if err := scanRows(rows, l, 1, &order, &l.Rest.Items, &l.Rest.Bytes); err != nil || len(l.Items) == 0 {
			return err
		}
		l.Items[0].Order = order
		return nil
	}
	return st
}

// readList reads a whole list into l, numbered as its readers see it. Its items
// are those of the known copy, if there is one, as long as the server says that
// it is current.
func (s *Store) readList(key preferences.Key, known preferences.List, l *preferences.List) step {
	st := run("list", key.UserID, key.Domain, known.ID, known.Version, known.UpdateTime)
	if key.Item != uuid.Nil {
		st = run("listof", key.Item, key.UserID, known.ID, known.Version, known.UpdateTime)
	}
	st.read = func(rows pgx.Rows) error {
		*l = preferences.List{UserID: key.UserID, Domain: key.Domain, Items: []preferences.Item{}}
		if err := scanRows(rows, l, usualItems); err != nil {
			return err
		}
		current := sameVersion(*l, known) || mutant.Is("copy-unasked")
		if s.lists.count(known, current); current && known.ID != 0 {
			l.Items = known.Items
			return nil
		}
		l.Number()
		return nil
	}
	return st
}

// itemRow is the right half of a list's row; all of it is null, and reads as
// zero, for a list without items.
type itemRow struct {
	id                   zeronull.UUID
	entityType, entityID zeronull.Text
	position, version    zeronull.Int4
	attributes           []byte
	created, updated     zeronull.Timestamptz
}

// usualItems is room for the items of most lists.
const usualItems = 32

// scanRows takes the rows of one list, for whose items there is room from the
// first on; extra takes what follows the item.
func scanRows(rows pgx.Rows, l *preferences.List, room int, extra ...any) error {
	var r itemRow
	dest := append([]any{
		&l.ID, &l.Domain, &l.Version, &l.Gaps, &l.UpdateTime,
		&r.id, &r.entityType, &r.entityID, &r.position, &r.attributes, &r.version, &r.created, &r.updated,
	}, extra...)
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if uuid.UUID(r.id) == uuid.Nil {
			continue
		}
		if len(l.Items) == 0 {
			l.Items = make([]preferences.Item, 0, room)
		}
		l.Items = append(l.Items, preferences.Item{
			ID: uuid.UUID(r.id), EntityType: string(r.entityType), EntityID: string(r.entityID), Attributes: json.RawMessage(r.attributes),
			Version: int32(r.version), CreateTime: time.Time(r.created).UTC(), UpdateTime: time.Time(r.updated).UTC(), Position: int32(r.position),
		})
	}
	l.UpdateTime = l.UpdateTime.UTC()
	return rows.Err() // of rows that stopped coming, some are there
}
