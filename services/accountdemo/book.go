package accountdemo

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// book keeps the accounts and the events about them. Every change is in the file
// before it is seen, so nobody is told of one that a crash takes back.
type book struct {
	path string
	now  func() time.Time
	wake chan struct{} // tells the sender that an event waits

	mu    sync.Mutex
	state state // replaced, never changed: readers may keep what they were given
	sent  map[uuid.UUID]chan struct{}
}

// change is a change that was made and whether its event is out.
type change struct {
	account account
	event   uuid.UUID
	sent    <-chan struct{} // closed once the broker has acknowledged the event
}

// openBook reads the file and adds seeded accounts until there have been n.
func openBook(path string, n int) (*book, error) {
	s, err := load(path)
	if err != nil {
		return nil, err
	}
	if missing := n - len(s.Accounts); missing > 0 {
		for range missing {
			s.Accounts = append(s.Accounts, seeded(len(s.Accounts)+1))
		}
		if err := save(path, s); err != nil {
			return nil, err
		}
	}
	b := &book{path: path, now: time.Now, wake: make(chan struct{}, 1), state: s, sent: map[uuid.UUID]chan struct{}{}}
	return b, nil
}

// all returns the accounts that exist, oldest first.
func (b *book) all() []account {
	found := []account{}
	for _, a := range b.current().Accounts {
		if !a.Deleted {
			found = append(found, a)
		}
	}
	return found
}

// pick returns those of ids that exist, and the others, each in the order asked.
func (b *book) pick(ids []string) (found []account, missing []string) {
	accounts := b.current().Accounts
	at := make(map[string]int, len(accounts))
	for i, a := range accounts {
		at[a.ID] = i
	}
	found, missing = []account{}, []string{}
	for _, id := range ids {
		i, ok := at[id]
		if ok && !accounts[i].Deleted {
			found = append(found, accounts[i])
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}

// create adds an account; an empty id is the next free number.
func (b *book) create(id, name, kind string) (change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	accounts := slices.Clone(b.state.Accounts)
	for n := len(accounts) + 1; id == ""; n++ {
		if find(accounts, idOf(n)) < 0 {
			id = idOf(n)
		}
	}
	if i := find(accounts, id); i >= 0 {
		if accounts[i].Deleted {
			return change{}, fault.New(fault.Exists, fault.ReasonAlreadyExists, "%s was deleted: restore it, or choose another id", id)
		}
		return change{}, fault.New(fault.Exists, fault.ReasonAlreadyExists, "%s exists already", id)
	}
	at := b.now().UTC().Truncate(time.Microsecond)
	accounts = append(accounts, account{ID: id, Name: name, Type: kind, CreatedAt: at, ChangedAt: at})
	return b.commit(accounts, len(accounts)-1, accountCreated)
}

// remove deletes an account.
func (b *book) remove(id string) (change, error) { return b.mark(id, true, accountDeleted) }

// restore brings a deleted account back.
func (b *book) restore(id string) (change, error) { return b.mark(id, false, accountRestored) }

func (b *book) mark(id string, deleted bool, kind string) (change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	accounts := slices.Clone(b.state.Accounts)
	i := find(accounts, id)
	if i < 0 {
		return change{}, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no account %q", id)
	}
	if accounts[i].Deleted == deleted {
		return change{}, already(id, deleted)
	}
	accounts[i].Deleted = deleted
	accounts[i].ChangedAt = later(b.now(), accounts[i].ChangedAt)
	return b.commit(accounts, i, kind)
}

func already(id string, deleted bool) error {
	if deleted {
		return fault.New(fault.NotFound, fault.ReasonNotFound, "account %q is deleted already", id)
	}
	return fault.New(fault.Exists, fault.ReasonAlreadyExists, "account %q is not deleted", id)
}

// later returns now, or a moment after before: who hears of two changes of one
// account goes by their times.
func later(now, before time.Time) time.Time {
	now = now.UTC().Truncate(time.Microsecond)
	if now.After(before) {
		return now
	}
	return before.Add(time.Microsecond)
}

func find(accounts []account, id string) int {
	return slices.IndexFunc(accounts, func(a account) bool { return a.ID == id })
}

// commit writes the accounts and the event about the one at i, then shows them.
func (b *book) commit(accounts []account, i int, kind string) (change, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return change{}, err
	}
	next := state{Accounts: accounts, Pending: append(slices.Clone(b.state.Pending), newEvent(kind, id, accounts[i]))}
	if err := save(b.path, next); err != nil {
		return change{}, err
	}
	sent := make(chan struct{})
	b.state, b.sent[id] = next, sent
	b.poke()
	return change{account: accounts[i], event: id, sent: sent}, nil
}

func (b *book) poke() {
	select {
	case b.wake <- struct{}{}:
	default: // it has been told already
	}
}

// pending returns the events that wait, oldest first.
func (b *book) pending() []event { return b.current().Pending }

// acknowledge forgets events that the broker has.
func (b *book) acknowledge(done map[uuid.UUID]bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := state{Accounts: b.state.Accounts, Pending: []event{}}
	for _, e := range b.state.Pending {
		if !done[e.ID] {
			next.Pending = append(next.Pending, e)
		}
	}
	if err := save(b.path, next); err != nil {
		return err // they are published once more: subscribers drop repeats
	}
	b.state = next
	for id := range done {
		if sent, ok := b.sent[id]; ok {
			close(sent)
			delete(b.sent, id)
		}
	}
	return nil
}

func (b *book) current() state {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
