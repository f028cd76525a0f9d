package preferences

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Domain is one kind of list. Domains are data: another owner's things need a
// configuration, not code.
type Domain struct {
	Name       string       `json:"name"`       // as requests name it, 1-63 of [a-z0-9_-], a letter first
	EntityType string       `json:"entityType"` // of its items
	Events     DomainEvents `json:"events"`
}

// DomainEvents says how the owner of a domain's entities announces their fate.
type DomainEvents struct {
	Topic    string `json:"topic"`    // Kafka topic
	IDField  string `json:"idField"`  // member of data that holds the entity's id
	Deleted  string `json:"deleted"`  // event type of a deletion
	Created  string `json:"created"`  // of a creation: it clears a tombstone
	Restored string `json:"restored"` // of a restoration: likewise
}

// Domains are the lists that this deployment keeps.
type Domains struct {
	all    []Domain
	byName map[string]Domain
}

var (
	domainName = regexp.MustCompile(fmt.Sprintf(`^[a-z][a-z0-9_-]{0,%d}$`, MaxDomain-1))
	entityType = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,62}$`)
)

// DefaultDomains are those of the seed: accounts.
func DefaultDomains() Domains {
	d, err := NewDomains([]Domain{{
		Name: "accounts", EntityType: "account",
		Events: DomainEvents{
			Topic: "account.events", IDField: "accountId",
			Deleted: "account.deleted", Created: "account.created", Restored: "account.restored",
		},
	}})
	if err != nil {
		panic(err) // a literal of this file
	}
	return d
}

// ParseDomains reads a JSON array of domains.
func ParseDomains(data []byte) (Domains, error) {
	var all []Domain
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&all); err != nil {
		return Domains{}, fmt.Errorf("domains: %w", err)
	}
	if dec.More() {
		return Domains{}, errors.New("domains: more than one JSON value")
	}
	return NewDomains(all)
}

// NewDomains checks the domains and reports every mistake at once.
func NewDomains(all []Domain) (Domains, error) {
	out := Domains{all: slices.Clone(all), byName: make(map[string]Domain, len(all))}
	var errs []error
	if len(all) == 0 {
		errs = append(errs, errors.New("domains: at least one is needed"))
	}
	for i, d := range all {
		errs = append(errs, d.check(i)...)
		if _, twice := out.byName[d.Name]; twice {
			errs = append(errs, fmt.Errorf("domains[%d].name: %q stands there twice", i, d.Name))
		}
		out.byName[d.Name] = d
	}
	return out, errors.Join(errs...)
}

func (d Domain) check(i int) (errs []error) {
	bad := func(field, why string) { errs = append(errs, fmt.Errorf("domains[%d].%s: %s", i, field, why)) }
	if !domainName.MatchString(d.Name) {
		bad("name", "must match "+domainName.String())
	}
	if !entityType.MatchString(d.EntityType) {
		bad("entityType", "must match "+entityType.String())
	}
	if d.Events == (DomainEvents{}) {
		return errs // an owner that announces nothing: reconciliation alone keeps the lists right
	}
	for field, value := range map[string]string{"topic": d.Events.Topic, "idField": d.Events.IDField, "deleted": d.Events.Deleted} {
		if value == "" {
			bad("events."+field, "is required where the owner announces events")
		}
	}
	return errs
}

// All returns the domains in the order of their configuration.
func (d Domains) All() []Domain { return slices.Clone(d.all) }

// Names returns the domains' names, sorted.
func (d Domains) Names() []string {
	names := make([]string, 0, len(d.all))
	for _, x := range d.all {
		names = append(names, x.Name)
	}
	slices.Sort(names)
	return names
}

// Topics returns the topics on which owners announce events, without
// repetition.
func (d Domains) Topics() []string {
	var topics []string
	for _, x := range d.all {
		if x.Events.Topic != "" && !slices.Contains(topics, x.Events.Topic) {
			topics = append(topics, x.Events.Topic)
		}
	}
	return topics
}

// Find returns the domain of that name, or a fault that names the configured
// ones.
func (d Domains) Find(name string) (Domain, error) {
	found, ok := d.byName[name]
	if !ok {
		return Domain{}, fault.New(fault.Invalid, fault.ReasonUnknownDomain,
			"The domain is not known here. Known domains: %s.", strings.Join(d.Names(), ", ")).
			Violating(fault.Violation{Field: "domain", Description: "must be one of: " + strings.Join(d.Names(), ", ")})
	}
	return found, nil
}

// HasEntityType says whether some domain lists entities of that type.
func (d Domains) HasEntityType(typ string) bool {
	return slices.ContainsFunc(d.all, func(x Domain) bool { return x.EntityType == typ })
}
