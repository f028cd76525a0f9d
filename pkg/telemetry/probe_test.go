package telemetry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProbeSaysWhatTheProcessSays(t *testing.T) {
	t.Parallel()
	var missing error
	admin := httptest.NewServer(AdminHandler(All(), All(Check{Name: "database", Ready: func(context.Context) error { return missing }}), http.NotFoundHandler()))
	defer admin.Close()
	addr := strings.TrimPrefix(admin.URL, "http://")
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)

	require.NoError(t, Probe(t.Context(), addr))
	require.NoError(t, Probe(t.Context(), ":"+port))
	require.NoError(t, Probe(t.Context(), "0.0.0.0:"+port))
	missing = errors.New("refused")
	require.ErrorContains(t, Probe(t.Context(), addr), "database")
	admin.Close()
	require.ErrorContains(t, Probe(t.Context(), addr), "ask whether it is ready")
	require.ErrorContains(t, Probe(t.Context(), "9090"), "admin address")
}

func TestTheVersionIsTheBestThatIsKnown(t *testing.T) {
	t.Parallel()
	require.Equal(t, "v1.2.3", Version("v1.2.3"))
	require.NotEmpty(t, Version(""))
	require.Equal(t, "v9", versionOf(&debug.BuildInfo{Main: debug.Module{Version: "v9"}}))
	devel := debug.Module{Version: "(devel)"}
	require.Equal(t, "unknown", versionOf(&debug.BuildInfo{Main: devel}))
	require.Equal(t, "0123456789ab-dirty", versionOf(&debug.BuildInfo{Main: devel, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
	}}))
}
