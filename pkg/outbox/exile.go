package outbox

import (
	"context"

	"github.com/google/uuid"
)

// exiles are rows to be put into quarantine together.
type exiles struct {
	items   []item
	rows    []Exile
	blocked map[string]uuid.UUID // subjects, and the event that blocks each
}

// addUnfit adds a row that is not to be published, and says whether it is one.
func (e *exiles) addUnfit(it item, row *Row) bool {
	switch {
	case e.addFollower(it):
	case row.BlockedBy != uuid.Nil:
		e.add(it, Exile{Place: it.Place, Reason: ReasonBlocked, Error: behind, BlockedBy: row.BlockedBy})
	case row.Defect != nil:
		e.add(it, Exile{Place: it.Place, Reason: ReasonMalformed, Error: row.Defect.Error()})
		e.block(it)
	default:
		return false
	}
	return true
}

// addRefused adds a row that the broker will never take.
func (e *exiles) addRefused(it item, cause error) {
	e.add(it, Exile{Place: it.Place, Reason: ReasonRefused, Error: cause.Error(), Attempts: 1})
	e.block(it)
}

// addFollower adds a row whose subject is blocked by one of these, and says
// whether it is one.
func (e *exiles) addFollower(it item) bool {
	by, ok := e.blocked[it.subject]
	if ok {
		e.add(it, Exile{Place: it.Place, Reason: ReasonBlocked, Error: behind, BlockedBy: by})
	}
	return ok
}

const behind = "an earlier event of its subject is in quarantine"

// follow adds those of the items whose subject is blocked, and returns the
// others.
func (e *exiles) follow(items []item) []item {
	if len(e.blocked) == 0 {
		return items
	}
	var others []item
	for _, it := range items {
		if !e.addFollower(it) {
			others = append(others, it)
		}
	}
	return others
}

func (e *exiles) add(it item, row Exile) {
	e.items, e.rows = append(e.items, it), append(e.rows, row)
}

func (e *exiles) block(it item) {
	if it.subject == "" {
		return
	}
	if e.blocked == nil {
		e.blocked = map[string]uuid.UUID{}
	}
	e.blocked[it.subject] = it.event
}

// decide carries out what operators have decided about rows in quarantine.
// Between two rounds nothing of a blocked subject is on its way that comes after
// its rows in quarantine. Inside a backlog its later rows would be: they are
// listed, and these could not join them in their place.
func (l *leader) decide(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	settled, err := l.turn().Decide(ctx, l.r.cfg.Batch)
	if err != nil {
		return err
	}
	l.wishes.Decisions = false // until the next save says so
	l.poked = l.poked || settled > 0
	l.r.noteDecided(ctx, settled)
	return nil
}

// exile moves rows into quarantine.
func (l *leader) exile(ctx context.Context, out exiles) error {
	if len(out.rows) == 0 {
		return nil
	}
	if err := l.turn().Quarantine(ctx, out.rows); err != nil {
		return err
	}
	l.win.forget()
	for i := range out.items {
		l.settled(&out.items[i])
	}
	l.r.noteQuarantine(ctx, out.rows)
	return nil
}
