// Command ceiling is the least that an HTTP server can do: Echo with a single
// handler, which reads the request and answers what it is asked to, from
// memory. cmd/bench measures with it what HTTP itself costs, and, where it names
// a statement of SQL, what a server costs that runs this and nothing else.
package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/command"
)

// largest is the largest body that can be asked for.
const largest = 1 << 20

func main() {
	ctx, stop := command.Context()
	err := run(ctx)
	stop()
	os.Exit(command.Exit("ceiling", err, command.Failed))
}

func run(ctx context.Context) error {
	pool, err := open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	e := server(pool) //nolint:contextcheck // each request has a context of its own
	failed := make(chan error, 1)
	go func() { failed <- e.Start(os.Getenv("HTTP_ADDR")) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err = e.Shutdown(context.WithoutCancel(ctx))
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// server answers from memory, after the statement that is asked for, if one is.
func server(pool *pgxpool.Pool) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Any("/*", answer(bytes.Repeat([]byte{'x'}, largest)))
	e.Use(query(pool))
	return e
}

// answer sends the status and so many bytes as the request's headers say.
func answer(body []byte) echo.HandlerFunc {
	return func(c echo.Context) error {
		in := c.Request()
		if _, err := io.Copy(io.Discard, in.Body); err != nil {
			return err
		}
		c.Response().Header().Set("ETag", `"constant"`)
		status, err := strconv.Atoi(in.Header.Get("X-Bench-Status"))
		if err != nil {
			status = http.StatusOK
		}
		size, err := strconv.Atoi(in.Header.Get("X-Bench-Bytes"))
		if err != nil || size > largest || status == http.StatusNotModified {
			return c.NoContent(status)
		}
		return c.Blob(status, echo.MIMEApplicationJSON, body[:size])
	}
}
