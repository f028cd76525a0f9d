package preferences

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/precondition"
)

// Service is the use cases: what callers may ask of the lists.
type Service struct {
	store     Store
	domains   Domains
	announcer Announcer
	now       func() time.Time

	requireCondition bool
	replica          *replica // nil: there is none
	patience         time.Duration
	directories      map[string]Directory
}

// Options are what a Service is made of; Store is the only one without a
// default.
type Options struct {
	Store            Store
	Domains          Domains // default: DefaultDomains
	Announcer        Announcer
	RequireCondition bool             // writes without a precondition are refused
	Now              func() time.Time // default: time.Now
	Replica          Reader           // of the store; nil: there is none
	Patience         time.Duration    // how long a request waits for its clean; default 10 s

	Directories map[string]Directory // the owners that can be asked, by entity type
}

// New returns the use cases over a store.
func New(o Options) *Service {
	if o.Domains.byName == nil {
		o.Domains = DefaultDomains()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	s := &Service{
		store: o.Store, domains: o.Domains, announcer: o.Announcer, now: o.Now,
		requireCondition: o.RequireCondition, patience: o.Patience, directories: o.Directories,
	}
	if o.Replica != nil {
		s.replica = &replica{Reader: o.Replica, now: o.Now}
	}
	return s
}

// Terms are what a write is subject to.
type Terms struct {
	Conditions precondition.Conditions
	Force      bool // override the conditions; recorded in the history
	Rehearse   bool // do everything but write

	required bool // a write without a condition is refused
}

// Head returns a list without its items, enough for its tag.
func (s *Service) Head(ctx context.Context, userID, domain string) (List, error) {
	if _, err := s.domains.Find(domain); err != nil {
		return List{}, err
	}
	return s.store.Head(ctx, userID, domain)
}

// List returns a whole list; one that was never written is empty.
func (s *Service) List(ctx context.Context, userID, domain string) (List, error) {
	if _, err := s.domains.Find(domain); err != nil {
		return List{}, err
	}
	return s.store.List(ctx, Key{UserID: userID, Domain: domain})
}

// Item returns one item and the domain it stands in.
func (s *Service) Item(ctx context.Context, userID string, id uuid.UUID) (Item, string, error) {
	l, err := s.store.Item(ctx, userID, id)
	if err != nil {
		return Item{}, "", err
	}
	return l.Items[0], l.Domain, nil
}

// Replace makes a list equal to what the request describes.
func (s *Service) Replace(ctx context.Context, userID, domain string, by By, terms Terms, in []Input) (Result, error) {
	wanted, err := s.wantedOf(domain, in)
	if err != nil {
		return Result{}, err
	}
	by, terms, err = s.admit(by, ActionReplace, terms, domain, wanted)
	if err != nil {
		return Result{}, err
	}
	return s.store.Write(ctx, Key{UserID: userID, Domain: domain}, by, func(stored List) ([]Wanted, error) {
		if err := terms.judgeList(stored); err != nil {
			return nil, err
		}
		return wanted, nil
	})
}

// Create adds one item, at the end if the input names no order.
func (s *Service) Create(ctx context.Context, userID, domain string, by By, terms Terms, in Input) (Result, error) {
	add, err := s.addition(domain, in)
	if err != nil {
		return Result{}, err
	}
	if by, terms, err = s.admit(by, ActionCreate, terms, domain, add, in.Order); err != nil {
		return Result{}, err
	}
	by.Strict = true
	return s.store.Write(ctx, Key{UserID: userID, Domain: domain}, by, func(stored List) ([]Wanted, error) {
		return create(stored, terms, in.Order, add)
	})
}

func create(stored List, terms Terms, order *int, add Wanted) ([]Wanted, error) {
	wanted := stored.Wanted()
	if order != nil && *order > len(wanted)+1 {
		return nil, outOfRange(len(wanted) + 1)
	}
	if err := terms.judgeList(stored); err != nil {
		return nil, err
	}
	for _, it := range stored.Items {
		if it.Entity() == add.Entity() {
			return nil, fault.New(fault.Exists, fault.ReasonAlreadyExists, "The entity is in the list already.").
				With("id", it.ID.String()).With("resourceName", resourceName(it.ID))
		}
	}
	if order == nil {
		return append(wanted, add), nil
	}
	return slices.Insert(wanted, *order-1, add), nil
}

// Patch is a change of one item; what is nil stays.
type Patch struct {
	Attributes json.RawMessage // a JSON merge patch (RFC 7396)
	Order      *int            // the item's new rank, 1..n

	// Identifies refuses a request that means another item than the stored one;
	// nil: the request does not say.
	Identifies func(it Item, domain string) error
}

// Patch changes attributes and rank of one item; the other items move round it.
func (s *Service) Patch(ctx context.Context, userID string, id uuid.UUID, by By, terms Terms, p Patch) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	by, terms, err := s.admit(by, ActionUpdate, terms, id, p.Order, p.Attributes)
	if err != nil {
		return Result{}, err
	}
	return s.store.Write(ctx, Key{UserID: userID, Item: id, Alone: p.Order == nil}, by, func(stored List) ([]Wanted, error) {
		return p.apply(stored, id, terms)
	})
}

// Check says all that is wrong with the patch, whatever the item is.
func (p Patch) Check() error {
	v := violations{at: alone}
	v.order(p.Order)
	if p.Attributes != nil {
		if _, why := checkAttributes(p.Attributes); why != "" {
			v.add(fault.ReasonInvalidField, "attributes", why)
		}
	}
	return v.err()
}

func (p Patch) apply(stored List, id uuid.UUID, terms Terms) ([]Wanted, error) {
	at := stored.index(id)
	if at < 0 {
		return nil, NotFound()
	}
	if p.Identifies != nil {
		if err := p.Identifies(stored.Items[at], stored.Domain); err != nil {
			return nil, err
		}
	}
	wanted := stored.Wanted()
	if p.Order != nil && *p.Order > len(wanted) {
		return nil, outOfRange(len(wanted))
	}
	if err := terms.judgeItem(stored.Items[at]); err != nil {
		return nil, err
	}
	if p.Attributes != nil {
		merged, why := checkAttributes(merge(stored.Items[at].Attributes, p.Attributes))
		if why != "" {
			return nil, fault.New(fault.Invalid, fault.ReasonInvalidField, "The attributes would be too large after the patch.").
				Violating(fault.Violation{Field: "attributes", Description: why})
		}
		wanted[at].Attributes = merged
	}
	if p.Order != nil && *p.Order != at+1 {
		w := wanted[at]
		wanted = slices.Insert(slices.Delete(wanted, at, at+1), *p.Order-1, w)
	}
	return wanted, nil
}

// Delete removes one item; the gap closes.
func (s *Service) Delete(ctx context.Context, userID string, id uuid.UUID, by By, terms Terms) (Result, error) {
	by, terms, err := s.admit(by, ActionDelete, terms, id)
	if err != nil {
		return Result{}, err
	}
	return s.store.Write(ctx, Key{UserID: userID, Item: id}, by, func(stored List) ([]Wanted, error) {
		at := stored.index(id)
		if at < 0 {
			return nil, NotFound()
		}
		if err := terms.judgeItem(stored.Items[at]); err != nil {
			return nil, err
		}
		return slices.Delete(stored.Wanted(), at, at+1), nil
	})
}

// admit completes what the history will say and what the write is subject to.
// What the request means, its conditions aside, is the parts.
func (s *Service) admit(by By, action Action, terms Terms, parts ...any) (By, Terms, error) {
	by.Action, by.Forced = action, terms.Force
	by.Conditional = !terms.Force && (s.requireCondition || !terms.Conditions.Empty())
	terms.required = s.requireCondition
	if by.Rehearsed = terms.Rehearse; by.Rehearsed {
		by.Once = nil // the key belongs to the write that may follow
	}
	var err error
	by.Once, err = by.Once.of(append(parts, action, terms.Force)...)
	return by, terms, err
}

func (t Terms) judgeList(l List) error {
	return t.judge(l.ETag(), l.Version > 0, "preferences?domain="+l.Domain, l.UpdateTime)
}

func (t Terms) judgeItem(it Item) error {
	return t.judge(it.ETag(), true, resourceName(it.ID), it.UpdateTime)
}

func (t Terms) judge(current string, exists bool, resource string, modified time.Time) error {
	if t.required && !t.Force && t.Conditions.Empty() {
		return fault.New(fault.PreconditionRequired, fault.ReasonPreconditionRequired,
			"Send If-Match with the ETag that you last read, so that no change of another tab is overwritten.")
	}
	if t.Force || t.Conditions.ForWrite(current, exists) == precondition.Proceed {
		return nil
	}
	return PreconditionFailed(t.Conditions, current, exists, resource, modified)
}

// PreconditionFailed is the fault of a condition that did not hold.
func PreconditionFailed(c precondition.Conditions, current string, exists bool, resource string, modified time.Time) error {
	f := fault.New(fault.Precondition, fault.ReasonPreconditionFailed, "The resource has been modified since you last retrieved it.").
		With("currentEtag", current).With("providedEtag", c.Provided()).With("resourceName", resource)
	if !exists {
		return f.With("lastModifiedTime", nil)
	}
	return f.With("lastModifiedTime", modified.UTC())
}

// NotFound is the one answer for ids that are unknown and for those of others.
func NotFound() error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "There is no such preference.")
}

func outOfRange(n int) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidField, "The order is outside the list.").
		Violating(fault.Violation{Field: "order", Description: fmt.Sprintf("must be a whole number from 1 to %d", min(n, math.MaxInt32))})
}

func resourceName(id uuid.UUID) string { return "preferences/" + id.String() }
