package middleware

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func TestOnlyTraceContextsThatCanBeReadAreKept(t *testing.T) {
	t.Parallel()
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for sent, want := range map[string]string{
		good:                                   good,
		strings.Replace(good, "00-", "cc-", 1): good,
		strings.Replace(good, "00-", "01-", 1) + "-later": good,
		"":                                     "",
		good + "-more":                         "",
		good[:54]:                              "",
		strings.ToUpper(good):                  "",
		strings.Replace(good, "00-", "ff-", 1): "",
		strings.Replace(good, "00-", "0g-", 1): "",
		strings.Replace(good, "00-", "01-", 1) + "x":              "",
		strings.Replace(good, "-01", "-0x", 1):                    "",
		strings.ReplaceAll(good, "-", "_"):                        "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01": "",
	} {
		require.Equal(t, want, traceparent(http.Header{"Traceparent": {sent}}), sent)
	}
	require.Empty(t, traceparent(http.Header{}))
	require.Empty(t, traceparent(http.Header{"Traceparent": {good, good}}), "two say nothing")
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
	f.Fuzz(func(t *testing.T, sent string) {
		got := traceparent(http.Header{"Traceparent": {sent}})
		if got == "" {
			return
		}
		require.Len(t, got, 55)
		require.Equal(t, "00-", got[:3])
		require.Equal(t, got, traceparent(http.Header{"Traceparent": {got}}), "what is passed on can be read")
	})
}

func TestMediaTypesAreReadWithTheirCharset(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"application/json":                     TypeJSON,
		"Application/Json ; charset=\"UTF-8\"": TypeJSON,
		"application/json; version=1":          TypeJSON,
		"application/json; charset=latin1":     "",
		"application/json; charset=":           "",
		"application/json;":                    TypeJSON,
		"application/merge-patch+json":         TypeMergePatch,
		"":                                     "",
		";":                                    "",
	} {
		require.Equal(t, want, mediaType(sent), sent)
	}
}

// TestAnAbortedHandlerAborts: net/http's way to drop a connection is not an
// error of ours.
func TestAnAbortedHandlerAborts(t *testing.T) {
	t.Parallel()
	c := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), httptest.NewRecorder())
	require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() {
		_ = survive(func(echo.Context) error { panic(http.ErrAbortHandler) }, c)
	})
	err := survive(func(echo.Context) error { panic(errors.New("boom")) }, c)
	require.ErrorContains(t, err, "panic: boom")
	require.ErrorContains(t, err, "middleware_test.go", "the log has the stack")
}
