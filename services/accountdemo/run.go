package accountdemo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/config"
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
	listener, err := cfg.listen(ctx)
	if err != nil {
		return err
	}
	book, err := openBook(cfg.File, cfg.Accounts)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	client, err := kafka.Open(kafkaConfig(cfg.Kafka, cfg.Topic))
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
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve accounts: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		defer stopSending()
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		return errors.Join(web.Shutdown(limit), web.Close())
	})
	return g.Wait()
}

func (c Config) listen(ctx context.Context) (net.Listener, error) {
	if c.Listener != nil {
		return c.Listener, nil
	}
	var sockets net.ListenConfig
	l, err := sockets.Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("--accounts-addr: %w", err)
	}
	return l, nil
}

func kafkaConfig(c config.Kafka, topic string) kafka.Config {
	return kafka.Config{
		Brokers: c.Brokers, ClientID: "accountdemo", MetadataTopics: []string{topic},
		TLS: kafka.TLS{
			Enabled: bool(c.TLS.Enabled), CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName,
		},
		SASL: kafka.SASL{Mechanism: mechanism(c.SASL), Username: c.SASL.Username, Password: c.SASL.Password.Reveal()},
	}
}

func mechanism(c config.KafkaSASL) string {
	if !c.Enabled() {
		return ""
	}
	return c.Mechanism
}
