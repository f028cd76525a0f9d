package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/telemetry"
)

func TestAProcessIsAliveUntilACheckSaysOtherwise(t *testing.T) {
	t.Parallel()
	tel := newTelemetry(t)
	var sockets net.ListenConfig
	listener, err := sockets.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tel.Serve(ctx, ctx, listener, slog.New(slog.DiscardHandler)) }()
	status := func(path string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+path, http.NoBody)
		require.NoError(t, err)
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}

	require.Equal(t, http.StatusOK, status("/livez"), "a process that is starting works")
	require.Equal(t, http.StatusServiceUnavailable, status("/readyz"))
	var stuck error
	tel.AliveWhile(telemetry.Check{Name: "handler", Ready: func(context.Context) error { return stuck }})
	tel.ReadyWhen()
	require.Equal(t, http.StatusOK, status("/livez"))
	require.Equal(t, http.StatusOK, status("/readyz"))
	stuck = errors.New("it hangs")
	require.Equal(t, http.StatusServiceUnavailable, status("/livez"))
	stop()
	require.NoError(t, <-ended)
}
