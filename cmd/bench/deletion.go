package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

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

// deletion compares both ways on the same lists in the same state.
type deletion struct {
	State   string `json:"state"`
	Service side   `json:"service"` // items, heads, history and events
	Floor   side   `json:"floor"`   // DELETE of the rows alone, in the same chunks
}

// beside is what a user who reads lists notices of a deletion.
type beside struct {
	Idle    figures `json:"idle"`
	Service figures `json:"service"`
	Floor   figures `json:"floor"`
}

// deletions takes six accounts out of all lists. After a checkpoint the first
// change of a page puts the whole page into the WAL, on both sides.
func (m *machine) deletions(ctx context.Context, f flags) (sides []deletion, reader *beside, err error) {
	announcer := preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("bench")}
	store, err := postgres.Open(postgres.Config{URL: m.server.URL(), MaxConns: 2, Announcer: announcer})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	service := preferences.New(preferences.Options{Store: store, Announcer: announcer})
	floor := func(account int) func() (int64, error) {
		return func() (int64, error) { return m.deleteRows(ctx, entityID(account)) }
	}
	whole := func(account int) func() (int64, error) {
		return func() (int64, error) { return sweep(ctx, service, store, entityID(account)) }
	}
	cold, warm := deletion{State: "after a checkpoint"}, deletion{State: "pages in the WAL already"}
	for i, run := range []struct {
		into *side
		work func() (int64, error)
	}{{&cold.Floor, floor(1)}, {&cold.Service, whole(2)}, {&warm.Service, whole(3)}, {&warm.Floor, floor(4)}} {
		if i < 2 && err == nil {
			_, err = m.admin.Exec(ctx, "checkpoint")
		}
		if err == nil {
			*run.into, err = m.measure(ctx, run.work)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	reader = &beside{}
	err = errors.Join(m.readBeside(ctx, f, &reader.Idle, nil), m.readBeside(ctx, f, &reader.Service, whole(5)), m.readBeside(ctx, f, &reader.Floor, floor(6)))
	return []deletion{cold, warm}, reader, err
}

// readBeside reads lists at a steady pace while the work is done, or for a while
// if there is none.
func (m *machine) readBeside(ctx context.Context, f flags, into *figures, work func() (int64, error)) error {
	store, err := postgres.Open(postgres.Config{URL: m.server.URL(), MaxConns: 1})
	if err != nil {
		return err
	}
	reading, stop := context.WithTimeout(ctx, f.Time)
	if work != nil {
		reading, stop = context.WithCancel(ctx)
	}
	defer stop()
	var took []time.Duration
	ended := make(chan error, 1)
	begin := time.Now()
	go func() {
		var err error
		took, err = readLists(reading, store, f.Lists)
		ended <- err
	}()
	if work != nil {
		_, err = work()
		stop()
	}
	err = errors.Join(err, <-ended, store.Close())
	if err == nil {
		*into = summarize(took, time.Since(begin), 0, 0)
	}
	return err
}

// readLists reads a random list every other millisecond until ctx ends.
func readLists(ctx context.Context, store *postgres.Store, lists int) (took []time.Duration, err error) {
	const every = 2 * time.Millisecond
	for next := time.Now(); ctx.Err() == nil; next = next.Add(every) {
		pause(ctx, time.Until(next))
		begin := time.Now()
		_, err := store.List(context.WithoutCancel(ctx), preferences.Key{UserID: fmt.Sprintf("user-%d", rand.IntN(lists)+1), Domain: "accounts"})
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took[1:], nil // the first one opens the connection
}

// sweep delivers a deletion and does what the runner does with the rest.
func sweep(ctx context.Context, service *preferences.Service, store *postgres.Store, account string) (int64, error) {
	d := preferences.Delivery{Consumer: "bench", Topic: "account.events", EventID: preferences.NewID().String()}
	_, open, err := service.EntityDeleted(ctx, d, preferences.Entity{Type: "account", ID: account}, time.Now())
	if err != nil || !open {
		return 0, errors.Join(errors.New("the deletion was expected to be left to the runner"), err)
	}
	c, found, err := store.Claim(ctx, "bench", time.Minute, preferences.KindClean)
	if err != nil || !found {
		return 0, errors.Join(errors.New("there is no clean to claim"), err)
	}
	if err := service.Run(ctx, c, func() {}); err != nil {
		return 0, err
	}
	o, err := store.Operation(ctx, c.ID)
	return o.Progress.Done, err
}

const chunk = 1000

// deleteRows is the least that a clean has to do.
func (m *machine) deleteRows(ctx context.Context, account string) (int64, error) {
	rows, err := m.admin.Query(ctx, "select list_id from preferences where entity_type = 'account' and entity_id = $1 order by list_id", account)
	if err != nil {
		return 0, err
	}
	lists, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, err
	}
	var n int64
	for some := range slices.Chunk(lists, chunk) {
		tag, err := m.admin.Exec(ctx, `delete from preferences p using unnest($1::bigint[]) v(list_id)
			where p.list_id = v.list_id and p.entity_id = $2 and p.entity_type || '' = 'account'`, some, account)
		if err != nil {
			return n, err
		}
		n += tag.RowsAffected()
	}
	return n, nil
}

func (m *machine) measure(ctx context.Context, fn func() (int64, error)) (side, error) {
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
