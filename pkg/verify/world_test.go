package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

// world is what a Source shows, in memory.
type world struct {
	lists      []verify.History
	tombstones []verify.Tombstone
	cleans     []verify.CleanChange
	operations []verify.CleanOperation
	effects    []verify.Effect
	outbox     []verify.OutboxRow
	work       verify.OpenWork
	seen       []verify.Delivered
	away       string // the method that fails
}

var errAway = errors.New("away")

func (w *world) fails(method string) error {
	if w.away == method {
		return errAway
	}
	return nil
}

func (w *world) Lists(_ context.Context, fn func(verify.History) error) error {
	for _, h := range w.lists {
		if err := fn(h); err != nil {
			return err
		}
	}
	return w.fails("lists")
}

func (w *world) Tombstones(context.Context) ([]verify.Tombstone, error) {
	return w.tombstones, w.fails("tombstones")
}

func (w *world) Cleans(context.Context) ([]verify.CleanChange, error) {
	return w.cleans, w.fails("cleans")
}

func (w *world) CleanOperations(context.Context) ([]verify.CleanOperation, error) {
	return w.operations, w.fails("operations")
}

func (w *world) Effects(context.Context) ([]verify.Effect, error) {
	return w.effects, w.fails("effects")
}

func (w *world) Outbox(context.Context) ([]verify.OutboxRow, error) {
	return w.outbox, w.fails("outbox")
}

func (w *world) OpenWork(context.Context) (verify.OpenWork, error) {
	return w.work, w.fails("open work")
}

var (
	start   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	account = preferences.Entity{Type: "account", ID: "x"}
)

func at(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }

// step is one version of a list on its way into a world.
func (w *world) step(l preferences.List, action preferences.Action, minute int, ids ...string) preferences.List {
	wanted := make([]preferences.Wanted, len(ids))
	for i, id := range ids {
		wanted[i] = preferences.Wanted{EntityType: "account", EntityID: id}
	}
	c := preferences.Diff(l, wanted, preferences.Stamp{Time: at(minute), NewID: preferences.NewID})
	if len(w.lists) == 0 {
		w.lists = append(w.lists, verify.History{})
	}
	h := &w.lists[0]
	h.List = c.Next
	h.Changes = append(h.Changes, verify.Change{Version: c.Next.Version, Time: at(minute), Action: string(action), Delta: c.Delta})
	return c.Next
}

func (w *world) emit(t events.Type, topic, key string, seq int64, minute int, data any) {
	id := uuid.New()
	payload, err := events.Encode(t, id, at(minute), "/prefsd/test", data)
	if err != nil {
		panic(err)
	}
	row := verify.OutboxRow{ID: int64(len(w.outbox) + 1), EventID: id, Type: t, Topic: topic, Key: key, Sequence: seq, Payload: payload, Time: at(minute)}
	w.outbox = append(w.outbox, row)
	w.seen = append(w.seen, verify.Delivered{Topic: topic, Offset: row.ID, Key: key, EventID: id, Value: payload})
}

func (w *world) updated(version int64, minute int) {
	w.emit(events.PreferencesUpdated, "updates", "u", version, minute, events.Updated{UserID: "u", ListID: 1, Version: version})
}

func (w *world) cleaned(minute int, part events.Cleaned) {
	part.EntityID, part.EntityType, part.Cause = account.ID, account.Type, "event:e1"
	w.emit(events.PreferencesCleaned, "cleans", "x", 0, minute, part)
}

// part rewrites the part of the clean in an outbox row.
func (w *world) part(row int, change func(*events.Cleaned)) {
	var envelope struct{ Data events.Cleaned }
	if err := json.Unmarshal(w.outbox[row].Payload, &envelope); err != nil {
		panic(err)
	}
	change(&envelope.Data)
	payload, err := events.Encode(events.PreferencesCleaned, w.outbox[row].EventID, at(0), "/prefsd/test", envelope.Data)
	if err != nil {
		panic(err)
	}
	w.outbox[row].Payload = payload
}

// sound is a world in which every promise holds: a list is saved, moved,
// cleaned in two parts and saved again.
func sound() *world {
	w := &world{}
	l := preferences.List{ID: 1, UserID: "u", Domain: "accounts"}
	l = w.step(l, preferences.ActionReplace, 0, "a", "x", "b")
	l = w.step(l, preferences.ActionReplace, 1, "x", "b", "a")
	l = w.step(l, preferences.ActionClean, 2, "b", "a")
	w.step(l, preferences.ActionCreate, 4, "b", "a", "c")
	w.updated(1, 0)
	w.updated(2, 1)
	w.cleaned(2, events.Cleaned{
		Part: 1, TotalDeleted: 1, AffectedUsers: []string{"u"},
		Lists: []events.TouchedList{{UserID: "u", Domain: "accounts", ListID: 1, Version: 3}},
	})
	w.cleaned(3, events.Cleaned{Part: 2, Final: true, Complete: true, TotalDeleted: 1})
	w.updated(4, 4)
	w.cleans = []verify.CleanChange{{Cause: "event:e1", UserID: "u", Entity: account, ListID: 1, Version: 3, Time: at(2)}}
	w.operations = []verify.CleanOperation{{Cause: "event:e1", Entity: account, Created: at(2)}}
	w.effects = []verify.Effect{{Cause: "event:e1", Entity: account, Deletes: true, Cleans: true, Marked: true, Applied: true}}
	return w
}

// ids are what differs from run to run.
var ids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// findings is everything that every check says.
func (w *world) findings(t *testing.T) []string {
	t.Helper()
	out := []string{}
	for _, check := range []func() (verify.Report, error){
		func() (verify.Report, error) { return verify.Database(t.Context(), w) },
		func() (verify.Report, error) { return verify.Quiet(t.Context(), w) },
		func() (verify.Report, error) { return verify.Delivery(t.Context(), w, w.seen) },
	} {
		report, err := check()
		require.NoError(t, err)
		for _, f := range report.Findings {
			out = append(out, ids.ReplaceAllString(f.String(), "ID"))
		}
	}
	return out
}
