package consumer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/operations"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

const (
	service       = "consumer"
	headerTimeout = 5 * time.Second
	drain         = time.Second     // what scrapers and probes have to finish
	schemaEvery   = time.Second     // between looks for pending migrations
	schemaWithin  = 5 * time.Second // one look
)

// process is what Run puts together.
type process struct {
	cfg       Config
	log       *slog.Logger
	domains   preferences.Domains
	telemetry *telemetry.Telemetry
	metrics   *metrics
	ready     atomic.Pointer[func(context.Context) error]
}

// Run consumes, sweeps and relays until ctx ends; then the records at hand are
// settled, their offsets committed, and leases given back. It is alive from the
// first moment, and ready once the schema is there and the group is joined.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	p := &process{cfg: cfg, log: log}
	p.waitFor("migrations", errors.New("not looked at yet"))
	if p.domains, err = cfg.domains(); err != nil {
		return err
	}
	if p.telemetry, err = telemetry.New(service, cfg.Version); err != nil { //nolint:contextcheck // it reads a few variables
		return err
	}
	defer func() { err = errors.Join(err, p.telemetry.Shutdown(context.WithoutCancel(ctx))) }()
	if p.metrics, err = newMetrics(p.telemetry.Meter()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	listener, err := cfg.listen(ctx)
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	// Whoever watches the process sees it until its last piece of work is done.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return p.serve(serving, working, listener)
	})
	g.Go(func() error {
		defer stopServing()
		there, err := p.awaitSchema(working)
		if err != nil || !there {
			return err
		}
		return p.work(working)
	})
	return g.Wait()
}

func (c Config) listen(ctx context.Context) (net.Listener, error) {
	if c.Listener != nil {
		return c.Listener, nil
	}
	var sockets net.ListenConfig
	l, err := sockets.Listen(ctx, "tcp", c.AdminAddr)
	if err != nil {
		return nil, fmt.Errorf("--admin-addr: %w", err)
	}
	return l, nil
}

// serve answers probes and scrapes until serving ends; once working has ended,
// that the process is not ready any more.
func (p *process) serve(serving, working context.Context, l net.Listener) error {
	ready := func(ctx context.Context) error {
		if working.Err() != nil {
			return errStopping
		}
		return (*p.ready.Load())(ctx)
	}
	web := &http.Server{Handler: telemetry.AdminHandler(ready, p.telemetry.Handler()), ReadHeaderTimeout: headerTimeout}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	p.log.InfoContext(serving, "serving health and metrics", slog.String("addr", l.Addr().String()))
	select {
	case err := <-ended:
		return fmt.Errorf("serve health and metrics: %w", err)
	case <-serving.Done():
		limit, cancel := context.WithTimeout(context.WithoutCancel(serving), drain)
		defer cancel()
		err := errors.Join(web.Shutdown(limit), web.Close())
		return errors.Join(err, ignoreClosed(<-ended))
	}
}

// ignoreClosed drops what a server says when it was closed on purpose.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

var errStopping = errors.New("the process is stopping")

// waitFor makes the process unready.
func (p *process) waitFor(what string, err error) {
	p.check(telemetry.Check{Name: what, Ready: func(context.Context) error { return err }})
}

func (p *process) check(all ...telemetry.Check) {
	ready := telemetry.All(all...)
	p.ready.Store(&ready)
}

// awaitSchema waits until no migration is pending, on connections of its own:
// the store prepares statements that need the schema. It reports false if ctx
// ended first.
func (p *process) awaitSchema(ctx context.Context) (there bool, err error) {
	db, err := postgres.Plain(p.cfg.Database.URL.Reveal())
	if err != nil {
		return false, fmt.Errorf("--database-url: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ticker := time.NewTicker(schemaEvery)
	defer ticker.Stop()
	last := ""
	for {
		missing := p.schema(ctx, db)
		if missing == nil {
			return true, nil
		}
		p.waitFor("migrations", missing)
		if missing.Error() != last && ctx.Err() == nil {
			last = missing.Error()
			p.log.WarnContext(ctx, "waiting for the schema", slog.Any("error", missing))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

var errPending = errors.New("migrations are pending")

// schema migrates if it may, and says why the schema is not as it should be.
func (p *process) schema(ctx context.Context, db *sql.DB) error {
	if p.cfg.Database.Migrate {
		_, err := migrations.Up(ctx, db)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, schemaWithin)
	defer cancel()
	some, err := migrations.HasPending(ctx, db)
	if err == nil && some {
		err = errPending
	}
	return err
}

// part is something that runs until its context ends.
type part func(context.Context) error

// work opens what the service needs, and runs its parts until ctx ends.
func (p *process) work(ctx context.Context) (err error) {
	url := p.cfg.Database.URL.Reveal()
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: p.cfg.Database.MaxConns, Announcer: p.announcer()})
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	client, err := kafka.Open(p.kafkaConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	source, err := postgres.NewOutboxSource(url, p.cfg.Relay.Name)
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	defer source.Close()                                   //nolint:contextcheck // ctx is over by then
	publishing, err := p.publishing(store, source, client) //nolint:contextcheck // instruments outlive ctx
	if err != nil {
		return err
	}
	consuming, err := p.consuming(ctx, store, client)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range slices.Concat(publishing, consuming) {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// publishing is the relay, and what wakes it, here or in another process, when
// something new is in the outbox.
func (p *process) publishing(store *postgres.Store, source *postgres.OutboxSource, client *kafka.Client) ([]part, error) {
	notifier, err := postgres.NewNotifier(p.cfg.Database.URL.Reveal(), p.log)
	if err != nil {
		return nil, fmt.Errorf("--database-url: %w", err)
	}
	if !p.cfg.Relay.Enabled {
		store.AfterCommit(notifier.Poke)
		return []part{notifier.Run}, nil
	}
	relay, err := outbox.New(source, kafka.NewPublisher(client, kafka.PublisherConfig{}), outbox.Config{
		EventSource: p.announcer().Source, Meter: p.telemetry.Meter(),
	}, p.log)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	store.AfterCommit(func() {
		if relay.Status().Leader {
			relay.Poke()
		} else {
			notifier.Poke()
		}
	})
	return []part{notifier.Run, relay.Run}, nil
}

// consuming is the runner and, if any owner announces events, the group.
func (p *process) consuming(ctx context.Context, store *postgres.Store, client *kafka.Client) ([]part, error) {
	prefs := preferences.New(preferences.Options{Store: store, Domains: p.domains, Announcer: p.announcer()})
	runner := operations.NewRunner(operations.Options{Store: store, Sweeper: prefs, Owner: owner(), Log: p.log, Observe: p.metrics.turned})
	consumer, err := New(Options{
		Preferences: prefs, Domains: p.domains, Store: store, Group: p.cfg.Group, DeadLetters: p.cfg.Topics.DeadLetters,
		Log: p.log, Sweep: runner.Poke, Record: p.metrics.record,
	})
	if err != nil {
		return nil, err
	}
	p.metrics.prepare(ctx, consumer.routes)
	database := telemetry.Check{Name: "database", Ready: store.Ping}
	topics := p.domains.Topics()
	if len(topics) == 0 {
		p.check(database)
		return []part{runner.Run}, nil
	}
	group := kafka.NewGroup(p.groupConfig(client, topics, consumer), settle(consumer), p.log) //nolint:contextcheck // hooks count, whatever happens to ctx
	if err := showLag(p.telemetry.Meter(), lags(group)); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	p.check(database, telemetry.Check{Name: "kafka", Ready: joined(group)})
	return []part{runner.Run, group.Run}, nil
}

func (p *process) announcer() preferences.Announcer {
	t := p.cfg.Topics
	return preferences.Announcer{EventsTopic: t.PreferencesEvents, CleanedTopic: t.PreferencesCleaned, Source: events.Source(p.cfg.Deployment.Cell)}
}

func (p *process) kafkaConfig() kafka.Config {
	k, t := p.cfg.Kafka, p.cfg.Topics
	c := kafka.Config{
		Brokers: k.Brokers, ClientID: "prefsd-" + service,
		MetadataTopics: append(p.domains.Topics(), t.PreferencesEvents, t.PreferencesCleaned, t.DeadLetters),
		TLS: kafka.TLS{
			Enabled: bool(k.TLS.Enabled), CAFile: k.TLS.CAFile, CertFile: k.TLS.CertFile, KeyFile: k.TLS.KeyFile, ServerName: k.TLS.ServerName,
		},
	}
	if k.SASL.Enabled() {
		c.SASL = kafka.SASL{Mechanism: k.SASL.Mechanism, Username: k.SASL.Username, Password: k.SASL.Password.Reveal()}
	}
	return c
}

func (p *process) groupConfig(client *kafka.Client, topics []string, c *Consumer) kafka.GroupConfig {
	return kafka.GroupConfig{
		Client: client, Group: p.cfg.Group, Topics: topics, Gate: c.Gate,
		Hooks: kafka.Hooks{
			Failed: func(s kafka.Stage) { p.metrics.failed(string(s)) },
			Reset:  func(string, int, int64, int64) { p.metrics.reset() },
		},
	}
}

// settle hands records over in the words of the contract.
func settle(c *Consumer) kafka.Handler {
	return func(ctx context.Context, r kafka.Record) error {
		headers := make([]events.Header, len(r.Headers))
		for i, h := range r.Headers {
			headers[i] = events.Header(h)
		}
		return c.Settle(ctx, events.Record{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value, Headers: headers,
		}, r.Attempt)
	}
}

func lags(g *kafka.Group) func(func(topic string, partition int, records int64)) {
	return func(report func(string, int, int64)) {
		for _, l := range g.Lags() {
			report(l.Topic, l.Partition, l.Records)
		}
	}
}

// joined is ready while the group assigns partitions and every handler keeps
// its time.
func joined(g *kafka.Group) func(context.Context) error {
	return func(context.Context) error {
		switch {
		case !g.Ready():
			return errors.New("not a member of the consumer group")
		case !g.Healthy():
			return errors.New("a handler hangs")
		}
		return nil
	}
}

// owner names this process in leases, for an operator to find it by.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return service + "@" + host + "/" + uuid.NewString()
}
