package accountdemo

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/kafka"
)

const (
	headerTimeout = 5 * time.Second
	// drain is longer than any answer waits for the broker.
	drain = patience + time.Second
)

// Run serves accounts until ctx ends. Requests in hand are finished; events that
// the broker has not taken by then wait in the file for the next start.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	listener, err := httpd.Listen(ctx, cfg.Listener, "--accounts-addr", cfg.Addr)
	if err != nil {
		return err
	}
	book, err := openBook(cfg.File, cfg.Accounts)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	client, err := kafka.Open(kafka.FromConfig(cfg.Kafka, "accountdemo", cfg.Topic))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, client.Close()) }()

	send := &sender{book: book, publisher: kafka.NewPublisher(client, kafka.PublisherConfig{}), topic: cfg.Topic, log: log}
	web := &http.Server{Handler: (&server{book: book, log: log}).routes(), ReadHeaderTimeout: headerTimeout}
	log.InfoContext(ctx, "serving accounts", slog.String("addr", listener.Addr().String()), slog.Int("pending_events", len(book.pending())))

	// Requests that are finished at the end still wait for their events, so the
	// sender ends after the server.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		send.run(sending)
		return nil
	})
	g.Go(func() error {
		defer stopSending()
		return httpd.Serve(ctx, web, listener, httpd.Stop{Drain: drain})
	})
	return g.Wait()
}
