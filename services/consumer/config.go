package consumer

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
)

// Health says where the consumer is watched.
type Health struct {
	AdminAddr string `name:"admin-addr" default:"127.0.0.1:9091" help:"Where health and metrics are; it must not be reachable from outside."`
}

// HealthAddr is AdminAddr.
func (h Health) HealthAddr() string { return h.AdminAddr }

// Config is everything that the consumer can be told.
type Config struct {
	Health

	Group      string            `name:"kafka-group" default:"prefsd" help:"Consumer group; deployments that share a Kafka cluster need one each."`
	Deployment config.Deployment `embed:""`
	Database   config.Database   `embed:""`
	Kafka      config.Kafka      `embed:""`
	Topics     config.Topics     `embed:""`
	Relay      config.Relay      `embed:""`
	Directory  config.Directory  `embed:"" prefix:"directory-"`
	Reconcile  Reconcile         `embed:"" prefix:"reconcile-"`
	Verify     Verify            `embed:"" prefix:"verify-"`
	config.Log

	// Version is that of the binary.
	Version string `kong:"-"`
	// Listener is used instead of AdminAddr by those who have one already.
	Listener net.Listener `kong:"-"`
}

// Reconcile says when and how carefully lists are compared with their owners.
type Reconcile struct {
	Schedule     string        `name:"schedule" default:"17 3 * * *" help:"When to compare lists with the owner's accounts, where there is a directory: cron, in UTC; empty means never."`
	MaxShare     float64       `name:"max-share" default:"0.05" help:"Share of the accounts asked about that may be missing; a run that finds more, and more than 20, does nothing."`
	ConfirmAfter time.Duration `name:"confirm-after" default:"10m" help:"How long an account must be missing, in two runs, before it is cleaned."`
}

// Validate refuses what would clean too easily.
func (r Reconcile) Validate() error {
	if r.MaxShare <= 0 || r.MaxShare > 1 {
		return fmt.Errorf("--reconcile-max-share must be more than 0 and at most 1, not %g", r.MaxShare)
	}
	if r.ConfirmAfter <= 0 {
		return fmt.Errorf("--reconcile-confirm-after must be more than 0, not %s", r.ConfirmAfter)
	}
	if r.Schedule == "" {
		return nil
	}
	if _, err := reconcile.ParseSchedule(r.Schedule); err != nil {
		return fmt.Errorf("--reconcile-schedule: %w", err)
	}
	return nil
}

// Verify says when the database is looked at as a whole.
type Verify struct {
	Schedule string `name:"schedule" default:"47 4 * * *" help:"When to look whether the whole database keeps its promises: cron, in UTC; empty means never."`
}

// Validate refuses what is no schedule.
func (v Verify) Validate() error {
	if v.Schedule == "" {
		return nil
	}
	if _, err := reconcile.ParseSchedule(v.Schedule); err != nil {
		return fmt.Errorf("--verify-schedule: %w", err)
	}
	return nil
}

const maxGroup = 249

// Validate refuses a group that the inbox could not tell from another one.
func (c Config) Validate() error {
	if strings.TrimSpace(c.Group) != c.Group || c.Group == "" || len(c.Group) > maxGroup {
		return fmt.Errorf("--kafka-group must be 1 to %d characters without spaces around them, not %q", maxGroup, c.Group)
	}
	return nil
}

// domains are those of the file, or the built-in ones on the topic that is
// configured for them.
func (c Config) domains() (preferences.Domains, error) {
	if c.Deployment.DomainsFile == "" {
		all := preferences.DefaultDomains().All()
		all[0].Events.Topic = c.Topics.AccountEvents
		return preferences.NewDomains(all)
	}
	d, err := config.ParseFile("--domains-file", c.Deployment.DomainsFile, preferences.ParseDomains)
	if err != nil {
		return preferences.Domains{}, err
	}
	return d, c.checkTopics(d)
}

// checkTopics refuses to consume what this service publishes: an event would
// beget events for ever.
func (c Config) checkTopics(d preferences.Domains) error {
	var errs []error
	for _, topic := range d.Topics() {
		if slices.Contains(c.Topics.Own(), topic) {
			errs = append(errs, fmt.Errorf("--domains-file: %s is a topic of our own", topic))
		}
	}
	return errors.Join(errs...)
}
