package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// span waits for a span of a trace.
func span(t *testing.T, c *prefstest.Collector, trace, name string) prefstest.Span {
	t.Helper()
	var found prefstest.Span
	prefstest.Eventually(t, prefstest.Patience, "the span "+name, func() bool {
		spans := c.Trace(trace)
		i := slices.IndexFunc(spans, func(s prefstest.Span) bool { return s.Name == name })
		if i >= 0 {
			found = spans[i]
		}
		return i >= 0
	})
	return found
}

// TestOneTraceGoesFromTheCallerToTheBroker follows a save and a deletion through
// every process, as an operator would in the collector.
func TestOneTraceGoesFromTheCallerToTheBroker(t *testing.T) {
	t.Parallel()
	const saving, deleting = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
	const caller, owner = "00f067aa0ba902b7", "b7ad6b7169203331"
	collector := prefstest.NewCollector(t)
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.Env = collector.Env()
	alice := open(t, stage.API(t, nil).URL, stage.Token(t, "alice"))
	stage.Consumer(t, nil)

	body := map[string]any{"domain": "accounts", "preferences": []any{map[string]any{
		"entityId": "acc-1", "order": 1, "attributes": map[string]any{"note": "nobody's business"},
	}}}
	alice.send(http.StatusOK, http.MethodPut, "/preferences:batchReplace", body, "traceparent", "00-"+saving+"-"+caller+"-01")
	request := span(t, collector, saving, "PUT /preferences:batchReplace")
	require.Equal(t, caller, request.ParentID)
	require.Equal(t, "api", request.Service)
	emit := span(t, collector, saving, "EMIT")
	require.True(t, slices.ContainsFunc(collector.Trace(saving), func(s prefstest.Span) bool { return s.SpanID == emit.ParentID && s.ParentID == request.SpanID }),
		"the statements stand in their batch, and that in the request")
	require.Equal(t, request.SpanID, span(t, collector, saving, "send "+prefstest.Updates).ParentID, "the relay goes on where the request wrote the event")

	event := prefstest.Deleted("e-1", "acc-1", time.Now())
	event.Headers = []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-" + deleting + "-" + owner + "-01")}}
	stage.Produce(t, event)
	alice.gone("acc-1")
	handled := span(t, collector, deleting, "process "+prefstest.AccountEvents)
	require.Equal(t, owner, handled.ParentID)
	require.Equal(t, "consumer", handled.Service)
	require.Equal(t, handled.SpanID, span(t, collector, deleting, "send "+prefstest.Cleaned).ParentID)

	alice.send(http.StatusNotFound, http.MethodGet, "/preferences/no-id", nil, "traceparent", "00-"+caller+caller+"-"+owner+"-01")
	span(t, collector, caller+caller, "GET /preferences/:id")
	require.False(t, strings.Contains(collector.Bytes(), "nobody's business"), "a span holds no attribute value")
	require.False(t, strings.Contains(collector.Bytes(), alice.raw.Token), "a span holds no token")
}
