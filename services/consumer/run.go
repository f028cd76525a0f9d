package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/directory"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/operations"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/status"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/pkg/verify"
)

const service = "consumer"

// process is what Run puts together.
type process struct {
	cfg       Config
	log       *slog.Logger
	domains   preferences.Domains
	telemetry *telemetry.Telemetry
	metrics   *metrics
}

// Run consumes, sweeps and relays until ctx ends; then the records at hand are
// settled, their offsets committed, and leases given back. It is alive from the
// first moment, and ready once the schema is there and the group is joined.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	p := &process{cfg: cfg, log: log}
	if p.domains, err = cfg.domains(); err != nil {
		return err
	}
	if p.telemetry, err = telemetry.New(ctx, service, cfg.Version, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.telemetry.Shutdown(context.WithoutCancel(ctx))) }()
	p.telemetry.WaitFor("migrations", errors.New("not looked at yet"))
	if p.metrics, err = newMetrics(p.telemetry.Meter()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	listener, err := httpd.Listen(ctx, cfg.Listener, "--admin-addr", cfg.AdminAddr)
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
		return p.telemetry.Serve(serving, working, listener, log)
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

// awaitSchema reports false if ctx ended first.
func (p *process) awaitSchema(ctx context.Context) (bool, error) {
	there, err := postgres.AwaitSchema(ctx, p.cfg.Database.URL.Reveal(), bool(p.cfg.Database.Migrate), func(missing error) {
		p.telemetry.WaitFor("migrations", missing)
		p.log.WarnContext(ctx, "waiting for the schema", slog.Any("error", missing))
	})
	if err != nil {
		return false, fmt.Errorf("--database-url: %w", err)
	}
	return there, nil
}

// part is something that runs until its context ends.
type part func(context.Context) error

// work opens what the service needs, and runs its parts until ctx ends.
func (p *process) work(ctx context.Context) (err error) {
	store, err := postgres.Open(postgres.Config{URL: p.cfg.Database.URL.Reveal(), MaxConns: p.cfg.Database.MaxConns, Announcer: p.announcer(), Tracer: postgres.Tracer(p.telemetry.Traces())})
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	topics := append(p.domains.Topics(), p.cfg.Topics.Own()...)
	if users := p.cfg.Topics.UserEvents; users != "" {
		topics = append(topics, users)
	}
	client, err := kafka.Open(kafka.FromConfig(p.cfg.Kafka, "prefsd-"+service, topics...))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	outlet, err := p.outlet(client) //nolint:contextcheck // instruments outlive ctx
	if err != nil {
		return err
	}
	store.AfterCommit(outlet.Poke)
	parts, err := p.consuming(ctx, store, client)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range append(parts, outlet.Run) {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// outlet publishes, or leaves that to other processes.
func (p *process) outlet(client *kafka.Client) (*postgres.Outlet, error) {
	var publisher outbox.Publisher
	if p.cfg.Relay.Enabled {
		publisher = kafka.NewPublisher(client, kafka.PublisherConfig{})
	}
	return postgres.NewOutlet(p.cfg.Database.URL.Reveal(), p.cfg.Relay.Name, publisher, outbox.Config{
		EventSource: p.announcer().Source, Meter: p.telemetry.Meter(), Tracer: p.telemetry.Tracer(), Retention: p.cfg.Relay.Retention,
	}, p.log)
}

// consuming is the runner and, if anybody announces events, the group.
func (p *process) consuming(ctx context.Context, store *postgres.Store, client *kafka.Client) ([]part, error) {
	prefs := preferences.New(preferences.Options{Store: store, Domains: p.domains, Announcer: p.announcer()})
	kinds := make(map[preferences.OperationKind]operations.Work)
	kinds[preferences.KindClean], kinds[preferences.KindBulkClean] = prefs, prefs
	var runner *operations.Runner
	reconciling, err := p.reconciling(ctx, store, func() { runner.Poke() })
	if err != nil {
		return nil, err
	}
	parts := reconciling.parts
	if reconciling.work != nil {
		kinds[preferences.KindReconcile] = reconciling.work
	}
	name := owner()
	verifying, err := p.verifying(ctx, store, func() { runner.Poke() })
	if err != nil {
		return nil, err
	}
	kinds[preferences.KindVerify] = verifying.work
	parts = append(parts, verifying.parts...)
	parts = append(parts, func(ctx context.Context) error { return forget(ctx, store, p.log) })
	runner = operations.NewRunner(operations.Options{Store: store, Owner: name, Log: p.log, Observe: p.metrics.turned, Works: kinds})
	parts = append(parts, runner.Run)
	consumer, err := New(Options{
		Preferences: prefs, Domains: p.domains, UserEvents: p.cfg.Topics.UserEvents, Store: store, Group: p.cfg.Group, DeadLetters: p.cfg.Topics.DeadLetters,
		Version: telemetry.Version(p.cfg.Version), Log: p.log, Sweep: runner.Poke, Record: p.metrics.record, Tracer: p.telemetry.Tracer(),
	})
	if err != nil {
		return nil, err
	}
	p.metrics.prepare(ctx, consumer.routes)
	if err := showOperations(p.telemetry.Meter(), store.OperationCounts); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	database := telemetry.Check{Name: "database", Ready: store.Ping}
	topics := consumer.Topics()
	if len(topics) == 0 {
		p.telemetry.ReadyWhen(database)
		return parts, nil
	}
	group := kafka.NewGroup(p.groupConfig(client, topics, consumer), settle(consumer), p.log) //nolint:contextcheck // hooks count, whatever happens to ctx
	if err := errors.Join(showLag(p.telemetry.Meter(), lags(group)), showPause(p.telemetry.Meter(), consumer.Paused)); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	p.telemetry.ReadyWhen(database, telemetry.Check{Name: "kafka", Ready: joined(group)})
	p.telemetry.AliveWhile(telemetry.Check{Name: "handler", Ready: works(group)})
	diary := &Diary{Store: store, Group: p.cfg.Group, Owner: name, Lags: known(group), Log: p.log, Every: status.ReportEvery}
	return append(parts, group.Run, diary.Run), nil
}

// upkeep is work that looks at everything, and the parts that it needs.
type upkeep struct {
	work  operations.Work
	parts []part
}

// reconciling is nothing where there is nobody to ask.
func (p *process) reconciling(ctx context.Context, store *postgres.Store, poke func()) (out upkeep, err error) {
	if p.cfg.Directory.URL == "" {
		return out, nil
	}
	shown, err := newReconcileMetrics(p.telemetry.Meter())
	if err != nil {
		return out, fmt.Errorf("metrics: %w", err)
	}
	shown.prepare(ctx)
	client, err := directory.New(directory.Config{URL: p.cfg.Directory.URL, Token: p.cfg.Directory.Token.Reveal(), Opened: shown.opened})
	if err != nil {
		return out, fmt.Errorf("--directory-url: %w", err)
	}
	out.work = reconcile.New(reconcile.Options{
		Store: store, Directories: map[string]reconcile.Directory{p.domains.All()[0].EntityType: client},
		MaxShare: p.cfg.Reconcile.MaxShare, ConfirmAfter: p.cfg.Reconcile.ConfirmAfter, Observe: shown.ran, Log: p.log,
	})
	out.parts = append(out.parts, func(ctx context.Context) error {
		<-ctx.Done()
		client.Close()
		return nil
	})
	begin, err := p.scheduled("--reconcile-schedule", p.cfg.Reconcile.Schedule, preferences.KindReconcile, store, poke)
	out.parts = append(out.parts, begin...)
	return out, err
}

// verifying looks whether the database keeps its promises.
func (p *process) verifying(ctx context.Context, store *postgres.Store, poke func()) (out upkeep, err error) {
	shown, err := newVerifyMetrics(p.telemetry.Meter())
	if err != nil {
		return out, fmt.Errorf("metrics: %w", err)
	}
	shown.prepare(ctx)
	out.work = &verify.Runs{Store: store, Observe: shown.ran}
	out.parts, err = p.scheduled("--verify-schedule", p.cfg.Verify.Schedule, preferences.KindVerify, store, poke)
	return out, err
}

// scheduled begins operations of a kind by the clock, if there are times for it.
func (p *process) scheduled(flag, times string, kind preferences.OperationKind, store *postgres.Store, poke func()) ([]part, error) {
	if times == "" {
		return nil, nil
	}
	schedule, err := reconcile.ParseSchedule(times)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	schedule.Kind, schedule.Calendar, schedule.Log, schedule.Begun = kind, store, p.log, poke
	return []part{schedule.Run}, nil
}

func (p *process) announcer() preferences.Announcer {
	t := p.cfg.Topics
	return preferences.Announcer{EventsTopic: t.PreferencesEvents, CleanedTopic: t.PreferencesCleaned, Source: events.Source(p.cfg.Deployment.Cell)}
}

func (p *process) groupConfig(client *kafka.Client, topics []string, c *Consumer) kafka.GroupConfig {
	return kafka.GroupConfig{
		Client: client, Group: p.cfg.Group, Topics: topics, Gate: c.Gate,
		Hooks: kafka.Hooks{
			Failed: func(s kafka.Stage) { p.metrics.failed(string(s)) },
			Reset:  func(string, int, int64, int64) { p.metrics.reset() },
			Hung:   func(string, int) { p.metrics.hung() },

			Rebalanced: func(int) { p.metrics.rebalanced() },
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
		crashpoint.Hit("record.fetched")
		err := c.Settle(ctx, events.Record{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value, Headers: headers,
		}, r.Attempt)
		crashpoint.Hit("record.settled")
		return err
	}
}

func lags(g *kafka.Group) func(func(topic string, partition int, records int64)) {
	return func(report func(string, int, int64)) {
		for _, l := range g.Lags() {
			report(l.Topic, l.Partition, l.Records)
		}
	}
}

// known are the lags that are of this moment.
func known(g *kafka.Group) func() []status.Lag {
	return func() (out []status.Lag) {
		for _, l := range g.Lags() {
			if !l.Blind {
				out = append(out, status.Lag{Topic: l.Topic, Partition: l.Partition, Records: l.Records})
			}
		}
		return out
	}
}

// joined is ready while the group assigns partitions and every handler keeps
// its time.
func joined(g *kafka.Group) func(context.Context) error {
	return func(ctx context.Context) error {
		if !g.Ready() {
			return errors.New("not a member of the consumer group")
		}
		return works(g)(ctx)
	}
}

// works holds while every handler keeps its time. One that hangs keeps its
// partition for as long as the process lives.
func works(g *kafka.Group) func(context.Context) error {
	return func(context.Context) error {
		if !g.Healthy() {
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
