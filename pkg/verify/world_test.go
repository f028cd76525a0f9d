package verify_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"regexp"
	"slices"
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
	kept       time.Time
	lists      []verify.History
	twins      []uuid.UUID
	tombstones []verify.Tombstone
	operations []verify.CleanOperation
	effects    []verify.Effect
	outbox     []verify.OutboxRow
	work       verify.OpenWork
	seen       verify.Records
	away       string // the method that fails
}

var errAway = errors.New("away")

func (w *world) fails(method string) error {
	if w.away == method {
		return errAway
	}
	return nil
}

// all streams what there is, and then the error if the method fails.
func all[T any](w *world, method string, list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
		if err := w.fails(method); err != nil {
			var none T
			yield(none, err)
		}
	}
}

func (w *world) Kept(context.Context) (time.Time, error) { return w.kept, w.fails("kept") }

func (w *world) Twins(context.Context) ([]uuid.UUID, error) { return w.twins, w.fails("twins") }

// Lists takes what is told of them from the outbox.
func (w *world) Lists(context.Context) iter.Seq2[verify.History, error] {
	lists := slices.Clone(w.lists)
	for i := range lists {
		for _, row := range w.outbox {
			if e := data[events.Updated](row); row.Type == events.PreferencesUpdated && e.ListID == lists[i].List.ID {
				lists[i].Told = append(lists[i].Told, verify.Told{Version: e.Version, Quarantined: row.Quarantined})
			}
			if row.Type != events.PreferencesCleaned {
				continue
			}
			part := data[events.Cleaned](row)
			for _, l := range part.Lists {
				if l.ListID == lists[i].List.ID {
					lists[i].Told = append(lists[i].Told, verify.Told{Version: l.Version, Clean: cleanOf(part), Quarantined: row.Quarantined})
				}
			}
		}
	}
	return all(w, "lists", lists)
}

func (w *world) Tombstones(context.Context) iter.Seq2[verify.Tombstone, error] {
	return all(w, "tombstones", w.tombstones)
}

func (w *world) Parts(context.Context) iter.Seq2[events.Cleaned, error] {
	var parts []events.Cleaned
	for _, row := range w.outbox {
		if row.Type == events.PreferencesCleaned {
			parts = append(parts, data[events.Cleaned](row))
		}
	}
	slices.SortStableFunc(parts, func(a, b events.Cleaned) int { return cmp.Compare(cleanOf(a).String(), cleanOf(b).String()) })
	return all(w, "parts", parts)
}

func (w *world) CleanOperations(context.Context) iter.Seq2[verify.CleanOperation, error] {
	return all(w, "operations", w.operations)
}

func (w *world) Effects(context.Context, time.Duration) iter.Seq2[verify.Effect, error] {
	return all(w, "effects", w.effects)
}

func (w *world) Outbox(context.Context) iter.Seq2[verify.OutboxRow, error] {
	return all(w, "outbox", w.outbox)
}

func (w *world) OpenWork(context.Context, time.Duration) (verify.OpenWork, error) {
	return w.work, w.fails("open work")
}

// Records fails like the rest of the world.
func (w *world) Records(context.Context, time.Time) iter.Seq2[verify.Delivered, error] {
	return all(w, "topics", w.seen)
}

func data[T any](row verify.OutboxRow) T {
	var envelope struct{ Data T }
	if err := json.Unmarshal(row.Payload, &envelope); err != nil {
		panic(err)
	}
	return envelope.Data
}

func cleanOf(p events.Cleaned) verify.Clean {
	return verify.Clean{Cause: p.Cause, Entity: preferences.Entity{Type: p.EntityType, ID: p.EntityID}}
}

// prune drops the oldest rows.
func (w *world) prune(rows int) {
	w.outbox, w.seen, w.kept = w.outbox[rows:], w.seen[rows:], time.Time{}
}

var (
	start   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	account = preferences.Entity{Type: "account", ID: "x"}
	e2      = verify.Clean{Cause: "event:e2", Entity: account}
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
	h, actor := &w.lists[0], "u"
	if action == preferences.ActionClean {
		actor = "event:e1"
	}
	h.List = c.Next
	h.Changes = append(h.Changes, verify.Change{Version: c.Next.Version, Time: at(minute), Action: string(action), Actor: actor, Delta: c.Delta})
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
	w.seen = append(w.seen, verify.Delivered{Topic: topic, Offset: row.ID, Key: key, EventID: id, Value: payload, Time: at(minute)})
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
	part := data[events.Cleaned](w.outbox[row])
	change(&part)
	payload, err := events.Encode(events.PreferencesCleaned, w.outbox[row].EventID, at(0), "/prefsd/test", part)
	if err != nil {
		panic(err)
	}
	w.outbox[row].Payload = payload
}

// sound is a world in which every promise holds: a list is saved, moved,
// cleaned in two parts and saved again.
func sound() *world {
	w := &world{kept: at(0)}
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
	w.operations = []verify.CleanOperation{{Clean: verify.Clean{Cause: "event:e1", Entity: account}, Created: at(2)}}
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
		func() (verify.Report, error) { return verify.Quiet(t.Context(), w, 0) },
		func() (verify.Report, error) { return verify.Delivery(t.Context(), w, w, verify.AtOnce) },
	} {
		report, err := check()
		require.NoError(t, err)
		for _, f := range report.Findings {
			out = append(out, ids.ReplaceAllString(f.String(), "ID"))
		}
	}
	return out
}
