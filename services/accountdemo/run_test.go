package accountdemo

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/devkafka"
)

// TestItRunsOnABroker goes through the front door: a socket, a broker that
// speaks the protocol, and the end of the process.
func TestItRunsOnABroker(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	broker, err := devkafka.Start(devkafka.Config{Topics: []devkafka.Topic{{Name: "account.events", Partitions: 3}}}, log)
	require.NoError(t, err)
	defer func() { require.NoError(t, broker.Close()) }()

	file := newFile(t)
	base, stop := serve(t, broker.Addrs(), file, log)
	require.Equal(t, http.StatusOK, call(t, http.MethodGet, base+"/readyz"))
	require.Equal(t, http.StatusNoContent, call(t, http.MethodDelete, base+"/accounts/acc-001"), "the broker has acknowledged the event")
	stop()

	left, err := load(file)
	require.NoError(t, err)
	require.Empty(t, left.Pending)
	require.True(t, left.Accounts[0].Deleted)
}

func TestAMistakeIsSaid(t *testing.T) {
	t.Parallel()
	none := func(string) (string, bool) { return "", false }
	_, err := config.Parse[Config]("accountdemo", "", nil, none)
	require.ErrorContains(t, err, "PREFS_KAFKA_BROKERS")
	_, err = config.Parse[Config]("accountdemo", "", []string{"--kafka-brokers=a:1", "--accounts=-1"}, none)
	require.ErrorContains(t, err, "PREFS_ACCOUNTS")

	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg, err := config.Parse[Config]("accountdemo", "", []string{"--kafka-brokers=a:1", "--accounts-addr=" + taken.Addr().String()}, none)
	require.NoError(t, err)
	require.ErrorContains(t, Run(t.Context(), cfg, slog.New(slog.DiscardHandler)), "--accounts-addr")
}

// serve runs the service as its command does.
func serve(t *testing.T, brokers []string, file string, log *slog.Logger) (base string, stop func()) {
	t.Helper()
	args := []string{"--kafka-brokers=" + strings.Join(brokers, ","), "--accounts-file=" + file}
	cfg, err := config.Parse[Config]("accountdemo", "", args, func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	cfg.Listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, log) }()
	return "http://" + cfg.Listener.Addr().String(), func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func call(t *testing.T, method, url string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}
