package postgres

import (
	"context"
	"database/sql/driver"
)

// steady opens connections that outlive whoever needed them first. A caller who
// hangs up meanwhile would cost the connection, and with it all that opening one
// takes, just when many are needed: after a start or an outage. Only the caller's
// deadline counts.
type steady struct{ driver.Connector }

// Connect implements driver.Connector.
func (s steady) Connect(ctx context.Context) (driver.Conn, error) {
	lasting := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		lasting, cancel = context.WithDeadline(lasting, deadline)
		defer cancel()
	}
	return s.Connector.Connect(lasting)
}
