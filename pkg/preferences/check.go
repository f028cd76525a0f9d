package preferences

import (
	"context"

	"github.com/prefsd/prefsd/pkg/fault"
)

// What can be said about a request without looking at the list is said at once,
// and also about a request of which not everything could be read.

// CheckReplace says all that is wrong with the items of a save.
func (s *Service) CheckReplace(domain string, in []Input) error {
	_, err := s.wantedOf(domain, in)
	return err
}

// CheckCreate says all that is wrong with an item to add.
func (s *Service) CheckCreate(domain string, in Input) error {
	_, err := s.addition(domain, in)
	return err
}

// CheckClean says all that is wrong with an entity to clean.
func (s *Service) CheckClean(e Entity) error {
	var wrong, unknown error
	if why := checkEntityID(e.ID); why != "" {
		v := violations{at: alone}
		v.add(fault.ReasonInvalidField, "entityId", why)
		wrong = v.err()
	}
	if !s.domains.HasEntityType(e.Type) {
		unknown = unknownEntityType(fault.Violation{Field: "entityType", Description: "must be the entity type of a configured domain"})
	}
	return fault.Join(wrong, unknown)
}

func unknownEntityType(where ...fault.Violation) error {
	return fault.New(fault.Unprocessable, fault.ReasonUnknownEntityType, "No domain lists entities of this type.").Violating(where...)
}

func (s *Service) wantedOf(domain string, in []Input) ([]Wanted, error) {
	d, unknown := s.domains.Find(domain)
	wanted, wrong := d.wantedOf(in)
	return wanted, fault.Join(unknown, wrong)
}

func (s *Service) addition(domain string, in Input) (Wanted, error) {
	d, unknown := s.domains.Find(domain)
	v := violations{at: alone}
	add := d.wanted(&v, in)
	v.order(in.Order)
	return add, fault.Join(unknown, v.err())
}

// RehearseClean says how many items a clean would remove by now.
func (s *Service) RehearseClean(ctx context.Context, e Entity) (Cleaned, error) {
	if err := s.CheckClean(e); err != nil {
		return Cleaned{}, err
	}
	held, err := s.store.Holders(ctx, e)
	return Cleaned{Deleted: held, AffectedUsers: []string{}}, err
}
