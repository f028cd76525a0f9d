package prefstest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// Road leads to a server, and can become a bad one.
type Road struct {
	proxy *toxiproxy.Proxy
}

// NewRoad opens a road to the server of a URL until the end of the test, and
// returns the URL by that road.
func NewRoad(tb testing.TB, server string) (r *Road, through string) {
	tb.Helper()
	u, err := url.Parse(server)
	require.NoError(tb, err)
	r = NewRoadAt(tb, "127.0.0.1:0", u.Host)
	u.Host = r.proxy.Listen
	return r, u.String()
}

// NewRoadAt opens a road that begins at one address and leads to another.
func NewRoadAt(tb testing.TB, from, to string) *Road {
	tb.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // some ways to be a bad road say so on standard error
	r := &Road{toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "road", from, to)}
	require.NoError(tb, r.proxy.Start())
	tb.Cleanup(r.proxy.Stop)
	return r
}

// Cut ends every connection on the road; others can be made at once.
func (r *Road) Cut(tb testing.TB) {
	tb.Helper()
	r.proxy.Stop()
	require.NoError(tb, r.proxy.Start())
}

// Delay makes answers late by so many milliseconds, and by up to as many more.
func (r *Road) Delay(tb testing.TB, ms int) {
	tb.Helper()
	r.worsen(tb, "latency", map[string]int{"latency": ms, "jitter": ms})
}

// Swallow lets no answer pass, and no connection end, until Mend.
func (r *Road) Swallow(tb testing.TB) {
	tb.Helper()
	r.worsen(tb, "timeout", map[string]int{"timeout": 0})
}

// Narrow lets so many kilobytes of answers pass in a second.
func (r *Road) Narrow(tb testing.TB, rate int) {
	tb.Helper()
	r.worsen(tb, "bandwidth", map[string]int{"rate": rate})
}

// Linger makes the end of a connection known so many milliseconds late.
func (r *Road) Linger(tb testing.TB, ms int) {
	tb.Helper()
	r.worsen(tb, "slow_close", map[string]int{"delay": ms})
}

// Reset ends every connection as soon as something is answered on it, and says
// so rudely.
func (r *Road) Reset(tb testing.TB) {
	tb.Helper()
	r.worsen(tb, "reset_peer", map[string]int{"timeout": 0})
}

// Mend makes it a good road again; connections that lost something end.
func (r *Road) Mend(tb testing.TB) {
	tb.Helper()
	r.proxy.Toxics.ResetToxics(tb.Context())
}

func (r *Road) worsen(tb testing.TB, kind string, attributes map[string]int) {
	tb.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "stream": "downstream", "attributes": attributes})
	require.NoError(tb, err)
	_, err = r.proxy.Toxics.AddToxicJson(bytes.NewReader(text))
	require.NoError(tb, err)
}
