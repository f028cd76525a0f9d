package preferences

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/prefsd/prefsd/pkg/fault"
)

// CheckRestore says all that is wrong with a version to go back to, whatever
// the list has been.
func (s *Service) CheckRestore(domain string, version int64) error {
	_, unknown := s.domains.Find(domain)
	v := violations{at: alone}
	if version < 1 {
		v.add(fault.ReasonInvalidField, "version", "must be a version of the list, from 1")
	}
	return fault.Join(unknown, v.err())
}

// Restore makes a list what it was in an earlier version, less what has been
// deleted since. What a version was never changes, so it is read beforehand;
// only what it replaces is judged with the write. That a version is not there is
// left for the write to say too: the request may have been answered when it was.
func (s *Service) Restore(ctx context.Context, userID, domain string, version int64, by By, terms Terms) (Result, error) {
	if err := s.CheckRestore(domain, version); err != nil {
		return Result{}, err
	}
	by, terms, err := s.admit(by, ActionRestore, terms, domain, version)
	if err != nil {
		return Result{}, err
	}
	key := Key{UserID: userID, Domain: domain}
	now, err := s.store.List(ctx, key)
	if err != nil {
		return Result{}, err
	}
	wanted, missing := s.past(ctx, now, version)
	if code := fault.CodeOf(missing); missing != nil && code != fault.NotFound && code != fault.Expired {
		return Result{}, missing
	}
	return s.store.Write(ctx, key, by, func(stored List) ([]Wanted, error) {
		if missing != nil {
			return nil, missing
		}
		if stored.ID != now.ID {
			return nil, neverReached() // it was erased, and perhaps begun again
		}
		if err := terms.judgeList(stored); err != nil {
			return nil, err
		}
		return wanted, nil
	})
}

// past returns what a list was in an earlier version: the deltas since then,
// taken back.
func (s *Service) past(ctx context.Context, now List, version int64) ([]Wanted, error) {
	if version > now.Version {
		return nil, neverReached()
	}
	state := now.Records()
	var undo *Delta // leads from the version after the next change to that of the change
	r := HistoryRange{UserID: now.UserID, Domain: now.Domain, Below: now.Version + 1, Limit: MaxHistory}
	for more := true; more; {
		var changes []Change
		var err error
		if changes, more, err = s.store.History(ctx, r); err != nil {
			return nil, err
		}
		for _, c := range changes {
			if c.ListID != now.ID {
				return nil, neverReached()
			}
			if undo != nil {
				state = Replay(state, *undo, c.Gaps)
			}
			if c.Version == version {
				return wantedAgain(state), nil
			}
			if undo, err = c.undo(); err != nil {
				return nil, err
			}
			r.Below = c.Version
		}
		more = more && len(changes) > 0
	}
	return nil, fault.New(fault.Expired, fault.ReasonVersionExpired, "The history does not reach back to this version any more.")
}

// undo is the delta that takes the change back.
func (c Change) undo() (*Delta, error) {
	var d Delta
	if err := json.Unmarshal(c.Delta, &d); err != nil {
		return nil, fmt.Errorf("decode the delta of version %d: %w", c.Version, err)
	}
	back := d.Back()
	return &back, nil
}

func wantedAgain(records []Record) []Wanted {
	out := make([]Wanted, len(records))
	for i, r := range records {
		out[i] = Wanted{EntityType: r.EntityType, EntityID: r.EntityID, Attributes: r.Attributes}
	}
	return out
}

func neverReached() error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "The list never had this version.")
}
