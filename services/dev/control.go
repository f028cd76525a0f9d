package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/services/ctl"
)

// BrokerConfig is what a person tells an environment that runs already.
type BrokerConfig struct {
	Do  string `arg:"" enum:"stop,start" help:"stop or start."`
	Dir string `name:"dir" env:"-" default:".dev" help:"Directory of the running environment."`
}

const (
	controlTimeout = 10 * time.Second // a broker with large logs takes a moment to start
	controlLimit   = 1 << 10
)

// brokerJSON is the broker as it shall be.
type brokerJSON struct {
	Running bool `json:"running"`
}

// serveControl does what another terminal asks for, until ctx ends. A page in a
// browser cannot ask: other origins may not send PUT.
func (e *environment) serveControl(ctx context.Context) error {
	routes := http.NewServeMux()
	routes.HandleFunc("PUT /broker", func(w http.ResponseWriter, r *http.Request) {
		var in brokerJSON
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, controlLimit)).Decode(&in); err != nil {
			http.Error(w, "the body is not JSON", http.StatusBadRequest)
			return
		}
		if err := e.broker.set(in.Running); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	web := &http.Server{Handler: routes, ReadTimeout: controlTimeout}
	return httpd.Serve(ctx, web, e.sockets[placeControl], httpd.Stop{Drain: time.Second})
}

// Broker stops or starts the broker of a running environment, and says on out
// what to look at.
func Broker(ctx context.Context, cfg BrokerConfig, out io.Writer) error {
	env, err := ctl.ReadEnvironment(cfg.Dir)
	if err != nil {
		return err
	}
	running := cfg.Do == "start"
	if err := setBroker(ctx, env.ControlURL, running); err != nil {
		return err
	}
	line := "the broker is stopped: saves go on, and prefsctl outbox status --dir %s shows what waits for it\n"
	if running {
		line = "the broker runs again: prefsctl outbox status --watch --dir %s shows how what waited is delivered\n"
	}
	_, err = fmt.Fprintf(out, line, cfg.Dir)
	return err
}

func setBroker(ctx context.Context, control string, running bool) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	body, err := json.Marshal(brokerJSON{running})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, control+"/broker", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the environment: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the environment: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	said, err := io.ReadAll(io.LimitReader(response.Body, controlLimit))
	return errors.Join(errors.New(strings.TrimSpace(string(said))), err)
}
