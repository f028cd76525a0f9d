package api

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

const (
	service      = "api"
	adminDrain   = time.Second     // what scrapers and probes have to finish
	schemaEvery  = time.Second     // between looks for pending migrations
	schemaWithin = 5 * time.Second // one look
)

// process is what Run puts together.
type process struct {
	cfg       Config
	log       *slog.Logger
	domains   preferences.Domains
	verifier  *auth.Verifier
	telemetry *telemetry.Telemetry
	metrics   *metrics
	gate      *gate
	ready     atomic.Pointer[func(context.Context) error]
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
		return p.watch(watching, working, admin)
	})
	return g.Wait()
}

// prepare reads what the configuration names, so that mistakes end the process
// at once.
func (p *process) prepare(ctx context.Context) (err error) {
	p.waitFor("migrations", errors.New("not looked at yet"))
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
	if p.telemetry, err = telemetry.New(service, p.cfg.Version); err != nil { //nolint:contextcheck // it reads a few variables
		return err
	}
	if p.metrics, err = newMetrics(p.telemetry.Meter()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	p.metrics.prepare(ctx)
	p.gate = newGate(p.handler(nil)) //nolint:contextcheck // each request has a context of its own
	return nil
}

// handler is the API; without preferences it answers that it is starting.
func (p *process) handler(prefs *preferences.Service) http.Handler {
	return New(Options{Preferences: prefs, Verifier: p.verifier, Log: p.log, Record: p.metrics.record, Timeout: p.cfg.RequestTimeout})
}

// serve answers requests until ctx ends, and then those that are in hand.
func (p *process) serve(ctx context.Context, l net.Listener) error {
	web := newHTTPServer(p.gate, p.log)
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	p.log.InfoContext(ctx, "serving", slog.String("addr", l.Addr().String()))
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	delay := time.NewTimer(p.cfg.ShutdownDelay)
	defer delay.Stop()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-delay.C:
	}
	return shutDown(ctx, web, ended, p.cfg.ShutdownTimeout)
}

// shutDown lets a server finish what it has begun; what takes longer is cut off.
func shutDown(ctx context.Context, web *http.Server, ended <-chan error, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	err := web.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests did not end within %s and were cut off: %w", limit, err)
	}
	err = errors.Join(err, web.Close())
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

var errStopping = errors.New("the process is stopping")

// watch answers probes and scrapes until ctx ends; once working has ended, that
// the process is not ready any more.
func (p *process) watch(ctx, working context.Context, l net.Listener) error {
	ready := func(ctx context.Context) error {
		if working.Err() != nil {
			return errStopping
		}
		return (*p.ready.Load())(ctx)
	}
	web := newHTTPServer(telemetry.AdminHandler(ready, p.telemetry.Handler()), p.log)
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	p.log.InfoContext(ctx, "serving health and metrics", slog.String("addr", l.Addr().String()))
	select {
	case err := <-ended:
		return fmt.Errorf("serve health and metrics: %w", err)
	case <-ctx.Done():
		return shutDown(ctx, web, ended, adminDrain)
	}
}

// waitFor makes the process unready.
func (p *process) waitFor(what string, err error) {
	p.check(telemetry.Check{Name: what, Ready: func(context.Context) error { return err }})
}

func (p *process) check(all ...telemetry.Check) {
	ready := telemetry.All(all...)
	p.ready.Store(&ready)
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

// work opens the store, lets requests in, and relays until ctx ends.
func (p *process) work(ctx context.Context) (err error) {
	url := p.cfg.Database.URL.Reveal()
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: p.cfg.Database.MaxConns, Announcer: p.announcer()})
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := showPool(p.telemetry.Meter(), store.Stats); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	notifier, err := postgres.NewNotifier(url, p.log)
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return notifier.Run(ctx) })
	wake := notifier.Poke
	if p.cfg.Relay.Enabled {
		relay, closeRelay, failed := p.newRelay() //nolint:contextcheck // instruments outlive ctx
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, closeRelay()) }()
		wake = waker(relay, notifier)
		g.Go(func() error { return relay.Run(ctx) })
	}
	store.AfterCommit(wake)
	p.open(store) //nolint:contextcheck // each request has a context of its own
	return g.Wait()
}

// open lets requests in.
func (p *process) open(store *postgres.Store) {
	p.gate.set(p.handler(preferences.New(preferences.Options{
		Store: store, Domains: p.domains, Announcer: p.announcer(), RequireCondition: bool(p.cfg.RequireIfMatch),
	})))
	p.check(telemetry.Check{Name: "database", Ready: store.Ping}, telemetry.Check{Name: "keys", Ready: p.verifier.Ready})
}

// waker tells of new events whoever publishes them: the relay of this process
// without a detour, another one by the database.
func waker(r *outbox.Relay, n *postgres.Notifier) func() {
	return func() {
		if r.Status().Leader {
			r.Poke()
			return
		}
		n.Poke()
	}
}

// newRelay returns the relay of this process, and what closes its connections
// when it has ended.
func (p *process) newRelay() (*outbox.Relay, func() error, error) {
	client, err := kafka.Open(p.kafkaConfig())
	if err != nil {
		return nil, nil, err
	}
	source, err := postgres.NewOutboxSource(p.cfg.Database.URL.Reveal(), p.cfg.Relay.Name)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("--database-url: %w", err), client.Close())
	}
	closeBoth := func() error {
		source.Close()
		return client.Close()
	}
	relay, err := outbox.New(source, kafka.NewPublisher(client, kafka.PublisherConfig{}), outbox.Config{
		EventSource: p.announcer().Source, Meter: p.telemetry.Meter(),
	}, p.log)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("relay: %w", err), closeBoth())
	}
	return relay, closeBoth, nil
}

func (p *process) announcer() preferences.Announcer {
	t := p.cfg.Topics
	return preferences.Announcer{EventsTopic: t.PreferencesEvents, CleanedTopic: t.PreferencesCleaned, Source: events.Source(p.cfg.Deployment.Cell)}
}

func (p *process) kafkaConfig() kafka.Config {
	k, t := p.cfg.Kafka, p.cfg.Topics
	c := kafka.Config{
		Brokers: k.Brokers, ClientID: "prefsd-" + service,
		MetadataTopics: []string{t.PreferencesEvents, t.PreferencesCleaned, t.DeadLetters},
		TLS: kafka.TLS{
			Enabled: bool(k.TLS.Enabled), CAFile: k.TLS.CAFile, CertFile: k.TLS.CertFile, KeyFile: k.TLS.KeyFile, ServerName: k.TLS.ServerName,
		},
	}
	if k.SASL.Enabled() {
		c.SASL = kafka.SASL{Mechanism: k.SASL.Mechanism, Username: k.SASL.Username, Password: k.SASL.Password.Reveal()}
	}
	return c
}
