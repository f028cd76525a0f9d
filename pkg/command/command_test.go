package command_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/command"
	"github.com/prefsd/prefsd/pkg/config"
)

type health struct {
	Addr string `name:"addr" default:"127.0.0.1:1"`
}

func (h health) HealthAddr() string { return h.Addr }

type settings struct {
	health

	Word string `name:"word" required:""`
	config.Log
}

func TestTheExitCodeSaysHowItEnded(t *testing.T) {
	t.Parallel()
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(admin.Close)
	for name, tc := range map[string]struct {
		args []string
		want int
	}{
		"stopped as asked":   {[]string{"--word=well"}, command.Done},
		"failed":             {[]string{"--word=ill"}, command.Failed},
		"a missing flag":     {nil, command.Misused},
		"an unknown flag":    {[]string{"--word=well", "--none"}, command.Misused},
		"help":               {[]string{"--help"}, command.Done},
		"healthy":            {[]string{"health", "--addr=" + strings.TrimPrefix(admin.URL, "http://")}, command.Done},
		"nobody answers":     {[]string{"health"}, command.Failed},
		"health of nothing":  {[]string{"health", "--none"}, command.Misused},
		"the help of health": {[]string{"health", "--help"}, command.Done},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := command.Service[settings, health]{
				Name: "test", Description: "Ends at once.", Version: "1",
				Run: func(ctx context.Context, cfg settings, _ *slog.Logger) error {
					require.NoError(t, ctx.Err())
					if cfg.Word == "ill" {
						return errors.New("it is ill")
					}
					return nil
				},
			}
			require.Equal(t, tc.want, service.Main(tc.args, func(string) (string, bool) { return "", false }))
		})
	}
}
