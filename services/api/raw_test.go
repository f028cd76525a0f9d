package api_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// raw sends bytes that no client library would, and returns all that comes
// back until the server closes.
func raw(t *testing.T, url string, request string) string {
	t.Helper()
	conn := dial(t, url)
	_, err := io.WriteString(conn, request)
	require.NoError(t, err)
	return rest(t, conn)
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

// rest reads until the server closes; a reset counts as that.
func rest(t *testing.T, conn net.Conn) string {
	t.Helper()
	answer, err := io.ReadAll(conn)
	if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // read directly from the connection
		t.Fatal("the server neither answered nor closed")
	}
	return string(answer)
}
