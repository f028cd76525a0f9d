package accountdemo

import (
	"errors"
	"net"

	"github.com/prefsd/prefsd/pkg/config"
)

// Health says where the demo serves, its health included.
type Health struct {
	Addr string `name:"accounts-addr" default:"127.0.0.1:8081" help:"Where accounts are served."`
}

// HealthAddr is Addr.
func (h Health) HealthAddr() string { return h.Addr }

// Config is everything that the demo can be told.
type Config struct {
	Health

	Accounts int          `name:"accounts" default:"6" help:"Accounts at the start; there are never fewer, however many were deleted."`
	File     string       `name:"accounts-file" default:"accounts.json" type:"path" help:"File that keeps the accounts and the events that wait for the broker."`
	Topic    string       `name:"topic-account-events" default:"account.events" help:"Topic to publish events about accounts to."`
	Kafka    config.Kafka `embed:""`
	config.Log

	// Listener is used instead of Addr by those who have one already.
	Listener net.Listener `kong:"-"`
}

// Validate refuses numbers of accounts that a file of a demo is not made for.
func (c Config) Validate() error {
	const most = 100_000
	if c.Accounts < 0 || c.Accounts > most {
		return errors.New("--accounts must be between 0 and 100000")
	}
	return nil
}
