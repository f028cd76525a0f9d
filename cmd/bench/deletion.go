package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// side is one way to take an entity out of every list.
type side struct {
	Lists   int64   `json:"lists"`
	Seconds float64 `json:"seconds"`
	WAL     int64   `json:"walBytes"`
	CPU     float64 `json:"cpuMicrosPerList"` // PostgreSQL's
}

type deletion struct {
	Service side `json:"service"` // items, heads, history and events
	Floor   side `json:"floor"`   // DELETE of the rows alone, in the same chunks
}

func (m *machine) deletion(ctx context.Context, lists int) (*deletion, error) {
	announcer := preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("bench")}
	store, err := postgres.Open(postgres.Config{URL: m.server.URL(), MaxConns: 2, Announcer: announcer})
	if err != nil {
		return nil, err
	}
	service := preferences.New(preferences.Options{Store: store, Announcer: announcer})
	out := &deletion{}
	out.Service, err = m.measure(ctx, func() (int64, error) { return sweep(ctx, service, store) })
	if err == nil {
		out.Floor, err = m.measure(ctx, func() (int64, error) { return m.deleteRows(ctx, lists) })
	}
	return out, errors.Join(err, store.Close())
}

// sweep delivers a deletion and does what the runner does with the rest.
func sweep(ctx context.Context, service *preferences.Service, store *postgres.Store) (int64, error) {
	d := preferences.Delivery{Consumer: "bench", Topic: "account.events", EventID: preferences.NewID().String()}
	_, open, err := service.EntityDeleted(ctx, d, preferences.Entity{Type: "account", ID: entityID(1)}, time.Now())
	if err != nil || !open {
		return 0, errors.Join(errors.New("the deletion was expected to be left to the runner"), err)
	}
	c, found, err := store.Claim(ctx, "bench", time.Minute)
	if err != nil || !found {
		return 0, errors.Join(errors.New("there is no clean to claim"), err)
	}
	var n int64
	err = service.Sweep(ctx, c, func(t []events.TouchedList) { n += int64(len(t)) })
	return n, err
}

const chunk = 1000

// deleteRows is the least that a clean has to do.
func (m *machine) deleteRows(ctx context.Context, lists int) (int64, error) {
	var n int64
	for from := 0; from < lists; from += chunk {
		tag, err := m.admin.Exec(ctx, "delete from preferences where entity_type = 'account' and entity_id = $1 and list_id between $2 and $3", entityID(2), from+1, from+chunk)
		if err != nil {
			return n, err
		}
		n += tag.RowsAffected()
	}
	return n, nil
}

func (m *machine) measure(ctx context.Context, fn func() (int64, error)) (side, error) {
	if _, err := m.admin.Exec(ctx, "checkpoint"); err != nil {
		return side{}, err
	}
	var lsn string
	if err := m.admin.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&lsn); err != nil {
		return side{}, err
	}
	before, err := tree(m.postgresPID)
	if err != nil {
		return side{}, err
	}
	begin := time.Now()
	n, err := fn()
	if err != nil || n == 0 {
		return side{}, errors.Join(fmt.Errorf("%d lists were touched", n), err)
	}
	s := side{Lists: n, Seconds: time.Since(begin).Seconds()}
	after, err := tree(m.postgresPID)
	if err != nil {
		return side{}, err
	}
	s.CPU = float64((after - before).Microseconds()) / float64(n)
	return s, m.admin.QueryRow(ctx, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::bigint", lsn).Scan(&s.WAL)
}
