package dev

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/services/accountdemo"
	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/consumer"
	"github.com/prefsd/prefsd/services/web"
)

// startParts runs the services as their commands do, on the stores and sockets
// that are there.
func (e *environment) startParts(ctx context.Context) error {
	apiConfig, err := e.apiConfig()
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	consumerConfig, err := e.consumerConfig()
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	accountsConfig, err := e.accountsConfig()
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	webConfig, err := e.webConfig()
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	// They end when the environment says so, not with ctx: first goes dev.json,
	// then they, then what they stand on.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.parts = newParts(stop)
	e.onClose(e.parts.end)
	e.parts.run(running, "api", func(ctx context.Context) error { return api.Run(ctx, apiConfig, e.logger("api")) })
	e.parts.run(running, "consumer", func(ctx context.Context) error { return consumer.Run(ctx, consumerConfig, e.logger("consumer")) })
	e.parts.run(running, "accounts", func(ctx context.Context) error { return accountdemo.Run(ctx, accountsConfig, e.logger("accounts")) })
	e.parts.run(running, "web", func(ctx context.Context) error { return web.Run(ctx, webConfig, e.logger("web")) })
	e.parts.run(running, "controls", e.serveControl)
	return nil
}

func (e *environment) logger(service string) *slog.Logger {
	return e.log.With(slog.String("service", service))
}

// uiOrigins are where the pages are, and where a UI under development usually is,
// unless PREFS_CORS_ORIGINS says otherwise: they may call the API.
func (e *environment) uiOrigins() []string {
	origins := []string{"http://localhost:3000", "http://127.0.0.1:3000", e.url(placeWeb)}
	if _, port, err := net.SplitHostPort(e.sockets[placeWeb].Addr().String()); err == nil {
		origins = append(origins, "http://localhost:"+port)
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

func (e *environment) apiConfig() (api.Config, error) {
	flags := append(e.storeFlags(), flag("auth-dev-key-file", e.keyFile()), flag("shutdown-delay", "0s"), flag("shutdown-timeout", "2s"), e.directoryFlag())
	if _, set := e.cfg.Lookup("PREFS_CORS_ORIGINS"); !set {
		flags = append(flags, flag("cors-origins", e.uiOrigins()...))
	}
	cfg, err := config.Parse[api.Config]("api", "", flags, e.cfg.Lookup)
	cfg.Version, cfg.Listener, cfg.AdminListener = e.cfg.Version, e.sockets[placeAPI], e.sockets[placeAdmin]
	return cfg, err
}

func (e *environment) consumerConfig() (consumer.Config, error) {
	cfg, err := config.Parse[consumer.Config]("consumer", "", append(e.storeFlags(), e.directoryFlag()), e.cfg.Lookup)
	cfg.Version, cfg.Listener = e.cfg.Version, e.sockets[placeConsumerAdmin]
	return cfg, err
}

func (e *environment) accountsConfig() (accountdemo.Config, error) {
	file, err := e.accountsFile()
	if err != nil {
		return accountdemo.Config{}, err
	}
	cfg, err := config.Parse[accountdemo.Config]("accountdemo", "", []string{
		flag("kafka-brokers", e.kafka.Brokers...), flag("topic-account-events", e.topics.AccountEvents),
		flag("accounts-file", file), flag("accounts", strconv.Itoa(e.cfg.Accounts)),
	}, e.cfg.Lookup)
	cfg.Listener = e.sockets[placeAccounts]
	return cfg, err
}

// webConfig lets the people of the tour sign in by name.
func (e *environment) webConfig() (web.Config, error) {
	tokens, err := e.sign()
	return web.Config{
		Listener: e.sockets[placeWeb], APIURL: e.url(placeAPI), AccountsURL: e.url(placeAccounts),
		People: []web.Person{
			{Name: "alice", Token: tokens.Alice},
			{Name: "bob", Token: tokens.Bob},
			{Name: "admin", Operator: true, Token: tokens.Admin},
		},
	}, err
}

// storeFlags lead a part to the database and the broker; everything else that it
// can be told comes from variables and defaults.
func (e *environment) storeFlags() []string {
	return []string{flag("database-url", e.databaseURL), flag("kafka-brokers", e.kafka.Brokers...)}
}

// directoryFlag names the owner of accounts, for whoever asks which of them exist.
func (e *environment) directoryFlag() string {
	return flag("directory-url", "http://"+e.sockets[placeAccounts].Addr().String()+"/accounts")
}

// flag spells a flag for the parser of a part.
func flag(name string, values ...string) string { return "--" + name + "=" + strings.Join(values, ",") }
