package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/directory"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/status"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

const service = "api"

// process is what Run puts together.
type process struct {
	cfg       Config
	log       *slog.Logger
	domains   preferences.Domains
	verifier  *auth.Verifier
	telemetry *telemetry.Telemetry
	metrics   *metrics
	limiter   *Limiter
	gate      *gate
}

// Run serves until ctx ends; then the requests in hand are answered, the relay
// gives its lease back, and connections are closed. It is alive from the first
// moment, and ready once the schema is there and the database answers.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	p := &process{cfg: cfg, log: log}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.telemetry.Shutdown(context.WithoutCancel(ctx))) }()
	public, admin, err := cfg.listen(ctx)
	if err != nil {
		return err
	}
	// Requests end first, then what they need, then the view of those who watch.
	working, stop := context.WithCancel(ctx)
	defer stop()
	backing, stopBacking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBacking()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		defer stopWatching()
		return p.back(working, backing)
	})
	g.Go(func() error {
		defer stopBacking()
		defer stop()
		return p.serve(working, public)
	})
	g.Go(func() error {
		defer stop()
		return p.telemetry.Serve(watching, working, admin, log)
	})
	return g.Wait()
}

// prepare reads what the configuration names, so that mistakes end the process
// at once.
func (p *process) prepare(ctx context.Context) (err error) {
	if p.domains, err = p.cfg.domains(); err != nil {
		return err
	}
	trusted, err := p.cfg.Auth.config() //nolint:contextcheck // it reads a file
	if err != nil {
		return err
	}
	if p.verifier, err = auth.NewVerifier(trusted, p.log); err != nil {
		return fmt.Errorf("--auth: %w", err)
	}
	if p.telemetry, err = telemetry.New(ctx, service, p.cfg.Version, p.log); err != nil {
		return err
	}
	p.telemetry.WaitFor("migrations", errors.New("not looked at yet"))
	if p.metrics, err = newMetrics(p.telemetry.Meter()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	p.metrics.prepare(ctx)
	p.limiter = NewLimiter(p.cfg.Limits.within(p.cfg.Database.MaxConns))
	if err := showLimits(p.telemetry.Meter(), p.limiter); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	p.gate = newGate(p.handler(nil, nil)) //nolint:contextcheck // each request has a context of its own
	return nil
}

// handler is the API; without preferences it answers that it is starting.
func (p *process) handler(prefs *preferences.Service, stand func(context.Context) (status.Status, error)) http.Handler {
	return New(Options{
		Preferences: prefs, Verifier: p.verifier, Log: p.log, Record: p.metrics.record, Timeout: p.cfg.RequestTimeout, Limiter: p.limiter,
		Browsers: p.cfg.Browsers, About: About{Version: p.cfg.Version, Domains: p.domains}, Traces: p.telemetry.Traces(), Status: stand,
	})
}

// serve answers requests until ctx ends, and then those that are in hand.
func (p *process) serve(ctx context.Context, l net.Listener) error {
	p.log.InfoContext(ctx, "serving", slog.String("addr", l.Addr().String()))
	return httpd.Serve(ctx, newHTTPServer(p.gate, p.log), l, httpd.Stop{Delay: p.cfg.ShutdownDelay, Drain: p.cfg.ShutdownTimeout})
}

// back is what the requests need: once the schema is there, the database and
// the relay. It is given up when ctx ends; when working does, it is not awaited
// any more.
func (p *process) back(working, ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.verifier.Run(ctx) })
	g.Go(func() error {
		there, err := p.awaitSchema(working)
		if err != nil || !there {
			return err
		}
		return p.work(ctx)
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

// work opens the store, lets requests in, and publishes until ctx ends.
func (p *process) work(ctx context.Context) (err error) {
	store, err := postgres.Open(postgres.Config{
		URL: p.cfg.Database.URL.Reveal(), MaxConns: p.cfg.Database.MaxConns, Cache: p.cfg.ListCache << 20, Announcer: p.announcer(),
		Tracer: postgres.Tracer(p.telemetry.Traces()),
	})
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := errors.Join(showPool(p.telemetry.Meter(), store.Stats), showCache(p.telemetry.Meter(), store.CacheStats)); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	replica, closeReplica, err := p.replica()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeReplica()) }()
	var publisher outbox.Publisher
	if p.cfg.Relay.Enabled {
		client, failed := kafka.Open(kafka.FromConfig(p.cfg.Kafka, "prefsd-"+service, p.cfg.Topics.Own()...))
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, client.Close()) }()
		publisher = kafka.NewPublisher(client, kafka.PublisherConfig{})
	}
	outlet, err := postgres.NewOutlet(p.cfg.Database.URL.Reveal(), p.cfg.Relay.Name, publisher, outbox.Config{ //nolint:contextcheck // instruments outlive ctx
		EventSource: p.announcer().Source, Meter: p.telemetry.Meter(), Tracer: p.telemetry.Tracer(), Retention: p.cfg.Relay.Retention,
	}, p.log)
	if err != nil {
		return err
	}
	store.AfterCommit(outlet.Poke)
	directories, closeDirectories, err := p.directories()
	if err != nil {
		return err
	}
	defer closeDirectories()
	p.open(store, replica, directories) //nolint:contextcheck // each request has a context of its own
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return outlet.Run(ctx) })
	if mutant.Is("goroutine-without-owner") {
		go func() { _ = p.forget(context.WithoutCancel(ctx), store) }()
	}
	g.Go(func() error { return p.forget(ctx, store) })
	return g.Wait()
}

// replica opens the read replica, where there is one.
func (p *process) replica() (preferences.Reader, func() error, error) {
	url := p.cfg.ReplicaURL.Reveal()
	if url == "" {
		return nil, func() error { return nil }, nil
	}
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: p.cfg.Database.MaxConns, Tracer: postgres.Tracer(p.telemetry.Traces())})
	if err != nil {
		return nil, nil, fmt.Errorf("--database-replica-url: %w", err)
	}
	if err := showLag(p.telemetry.Meter(), store.Lag); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("metrics: %w", err), store.Close())
	}
	return store, store.Close, nil
}

// directories are the owners that can be asked which of their entities exist.
func (p *process) directories() (map[string]preferences.Directory, func(), error) {
	if p.cfg.Directory.URL == "" {
		return nil, func() {}, nil
	}
	var open atomic.Bool
	client, err := directory.New(directory.Config{URL: p.cfg.Directory.URL, Token: p.cfg.Directory.Token.Reveal(), Opened: open.Store})
	if err != nil {
		return nil, nil, fmt.Errorf("--directory-url: %w", err)
	}
	if err := showBreaker(p.telemetry.Meter(), open.Load); err != nil {
		return nil, nil, fmt.Errorf("metrics: %w", err)
	}
	return map[string]preferences.Directory{p.domains.All()[0].EntityType: client}, client.Close, nil
}

// open lets requests in.
func (p *process) open(store *postgres.Store, replica preferences.Reader, directories map[string]preferences.Directory) {
	prefs := preferences.New(preferences.Options{
		Store: store, Domains: p.domains, Announcer: p.announcer(), RequireCondition: bool(p.cfg.RequireIfMatch), Replica: replica,
		Directories: directories,
	})
	p.gate.set(p.handler(prefs, func(ctx context.Context) (status.Status, error) { return store.Status(ctx, p.cfg.Relay.Name) }))
	p.telemetry.ReadyWhen(telemetry.Check{Name: "database", Ready: store.Ping}, telemetry.Check{Name: "keys", Ready: p.verifier.Ready})
}

func (p *process) announcer() preferences.Announcer {
	t := p.cfg.Topics
	return preferences.Announcer{EventsTopic: t.PreferencesEvents, CleanedTopic: t.PreferencesCleaned, Source: events.Source(p.cfg.Deployment.Cell)}
}
