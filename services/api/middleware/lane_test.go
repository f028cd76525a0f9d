package middleware

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func isBusy(t *testing.T, err error) {
	t.Helper()
	h, ok := errors.AsType[*echo.HTTPError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, http.StatusServiceUnavailable, h.Code)
}

func TestALaneQueuesAndRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(1, 2, time.Second)
		require.NoError(t, l.wait(t.Context()))
		waited := make(chan error, 2)
		for range 2 {
			go func() { waited <- l.wait(t.Context()) }()
		}
		synctest.Wait()
		isBusy(t, l.wait(t.Context())) // at once
		working, limit, waiting := l.Usage()
		require.Equal(t, [3]int{1, 1, 2}, [3]int{working, limit, waiting})
		l.leave()
		require.NoError(t, <-waited)
		began := time.Now()
		isBusy(t, <-waited)
		require.Equal(t, time.Second, time.Since(began))
		_, _, waiting = l.Usage()
		require.Zero(t, waiting)
		l.leave()
		require.True(t, l.try())
	})
}

func TestWhoHangsUpLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(1, 1, time.Second)
		require.True(t, l.try())
		ctx, hangUp := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() { waited <- l.wait(ctx) }()
		synctest.Wait()
		hangUp()
		require.ErrorIs(t, <-waited, context.Canceled)
		go func() { waited <- l.wait(t.Context()) }()
		synctest.Wait()
		l.leave()
		require.NoError(t, <-waited)
	})
}

// TestASlotIsFreeAsSoonAsTheAnswerBegins: a caller who reads slowly works no
// more.
func TestASlotIsFreeAsSoonAsTheAnswerBegins(t *testing.T) {
	t.Parallel()
	users, known := NewLane(1, 0, time.Second), NewLane(1, 0, time.Second)
	for name, handler := range map[string]echo.HandlerFunc{
		"answers": func(c echo.Context) error {
			working, _, _ := users.Usage()
			require.Equal(t, 1, working)
			c.Response().WriteHeader(http.StatusOK)
			working, _, _ = users.Usage()
			require.Zero(t, working)
			_, err := io.WriteString(c.Response(), "x")
			return err
		},
		"fails": func(echo.Context) error { return errors.New("boom") },
		"panics": func(c echo.Context) error {
			return survive(func(echo.Context) error { panic("boom") }, c)
		},
	} {
		c := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), httptest.NewRecorder())
		_ = AtWork(handler, users, known)(c)
		working, _, _ := users.Usage()
		require.Zero(t, working, name)
	}
	require.True(t, users.try())
	c := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), httptest.NewRecorder())
	require.NoError(t, AtWork(func(echo.Context) error {
		working, _, _ := known.Usage()
		require.Equal(t, 1, working, "the lane that is kept free")
		return nil
	}, users, known)(c))
}

// TestRoomIsMadeForWhatArrives: what is announced costs nothing.
func TestRoomIsMadeForWhatArrives(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, firstRoom - 1, firstRoom, firstRoom + 1, firstRoom * growth, firstRoom*growth + 1, MaxBody - 1, MaxBody} {
		content := bytes.Repeat([]byte("x"), size)
		for name, length := range map[string]int{"announced": size, "in chunks": -1} {
			for kind, r := range map[string]io.Reader{
				"whole": bytes.NewReader(content), "half": iotest.HalfReader(bytes.NewReader(content)), "with its end": iotest.DataErrReader(bytes.NewReader(content)),
			} {
				memory := NewMemory(2 * MaxBody)
				lent := loan{of: memory}
				got, err := readAll(r, int64(length), &lent)
				require.NoError(t, err, "%d %s %s", size, name, kind)
				require.True(t, bytes.Equal(content, got), "%d %s %s", size, name, kind)
				used, _ := memory.InUse()
				require.GreaterOrEqual(t, used, int64(size-firstRoom))
				lent.repay()
				used, _ = memory.InUse()
				require.Zero(t, used)
			}
		}
	}
	memory := NewMemory(MaxBody)
	slow := loan{of: memory}
	_, err := readAll(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("xx"))), MaxBody, &slow)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	used, _ := memory.InUse()
	require.Zero(t, used, "one byte of a MiB has come")
	_, err = readAll(strings.NewReader("x"), 2, &slow)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestBodiesShareTheirRoom(t *testing.T) {
	t.Parallel()
	memory := NewMemory(MaxBody)
	first, second := loan{of: memory}, loan{of: memory}
	require.True(t, first.borrow(MaxBody/2))
	require.True(t, second.borrow(MaxBody/2))
	require.False(t, second.borrow(MaxBody))
	require.False(t, first.borrow(MaxBody/2+1))
	second.repay()
	require.True(t, first.borrow(MaxBody))
	_, err := readAll(strings.NewReader(strings.Repeat("x", firstRoom+1)), firstRoom+1, &loan{of: memory})
	require.ErrorIs(t, err, errNoMemory)
	got, err := readAll(strings.NewReader("small"), 5, &loan{of: memory})
	require.NoError(t, err)
	require.Equal(t, "small", string(got), "small bodies are read however much others hold")
}
