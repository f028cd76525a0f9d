package postgres

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// notifyGap is the shortest time between two notifications. A waker that
	// comes in between is answered by one more at its end.
	notifyGap = 3 * time.Millisecond

	notifyWithin      = 5 * time.Second
	shortestReconnect = 100 * time.Millisecond
	longestReconnect  = 5 * time.Second
)

// Notifier tells relays in other processes that there is something new in the
// outbox. It is poked after commits and sends one NOTIFY for many of them, on a
// connection of its own: a NOTIFY inside the writing transactions would make
// their commits queue behind one lock.
type Notifier struct {
	link *link
	log  *slog.Logger
	poke chan struct{}
}

// NewNotifier returns a notifier. It does nothing until it runs.
func NewNotifier(url string, log *slog.Logger) (*Notifier, error) {
	l, err := newLink(url, "prefsd notifier", map[string]string{
		"synchronous_commit": "off", // a lost notification costs a poll
		"statement_timeout":  "5s",
	})
	if err != nil {
		return nil, err
	}
	return &Notifier{link: l, log: log, poke: make(chan struct{}, 1)}, nil
}

// Poke asks for a notification. It never waits.
func (n *Notifier) Poke() {
	select {
	case n.poke <- struct{}{}:
	default: // one is asked for already
	}
}

// Run sends notifications until ctx ends. Those that cannot be sent are
// forgotten: relays look by themselves, only later.
func (n *Notifier) Run(ctx context.Context) error {
	defer n.link.drop(ctx)
	gap := notifyGap
	for {
		select {
		case <-n.poke:
		case <-ctx.Done():
			return nil
		}
		err := n.notify(ctx)
		switch {
		case err == nil:
			gap = notifyGap
		case ctx.Err() != nil:
			return nil
		default:
			if gap == notifyGap {
				n.log.WarnContext(ctx, "relays in other processes are not notified", slog.Any("error", err))
			}
			gap = min(max(2*gap, shortestReconnect), longestReconnect)
		}
		timer := time.NewTimer(gap)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func (n *Notifier) notify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, notifyWithin)
	defer cancel()
	return n.link.use(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, outboxStatements["notify"], outboxChannel)
		return err
	})
}
