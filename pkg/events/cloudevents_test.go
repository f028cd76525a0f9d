package events_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
)

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// headers makes headers of pairs.
func headers(pairs ...string) []events.Header {
	var out []events.Header
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, events.Header{Name: pairs[i], Value: []byte(pairs[i+1])})
	}
	return out
}

func binaryHeaders(more ...string) []events.Header {
	return headers(append([]string{
		"ce_specversion", "1.0", "ce_id", "evt-12345", "ce_type", "account.deleted", "ce_source", "/accounts",
		"ce_time", "2024-10-07T17:00:00Z", "content-type", "application/json",
	}, more...)...)
}

func TestDecode_ReadsCloudEventsInEveryMode(t *testing.T) {
	t.Parallel()
	data := `{"accountId":"acc-003"}`
	want := events.Event{
		ID: "evt-12345", Type: "account.deleted", Time: time.Date(2024, 10, 7, 17, 0, 0, 0, time.UTC), Data: []byte(data), Traceparent: trace,
	}
	structured := `{"specversion":"1.0","id":"evt-12345","type":"account.deleted","source":"/accounts","time":"2024-10-07T17:00:00Z","traceparent":"` + trace + `",`
	inBase64 := structured + `"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}`
	for name, tc := range map[string]struct {
		headers []events.Header
		value   string
	}{
		"binary":                 {binaryHeaders("ce_traceparent", trace), data},
		"binary, a header":       {binaryHeaders("traceparent", trace), data},
		"binary, other spelling": {append(headers("Ce_Traceparent", trace), binaryHeaders()...), data},
		"structured":             {headers("Content-Type", "application/cloudevents+json; charset=UTF-8"), structured + `"data":` + data + `}`},
		"structured, capitals":   {headers("content-type", "Application/CloudEvents+JSON"), structured + `"data":` + data + `}`},
		"structured, short":      {headers("content-type", "application/cloudevents"), structured + `"data":` + data + `}`},
		"structured, no header":  {nil, structured + `"data":` + data + `}`},
		"structured, base64":     {headers("content-type", "application/cloudevents+json"), inBase64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := events.Decode(tc.headers, []byte("acc-003"), []byte(tc.value))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got))
			require.NoError(t, events.ValidateData(got.Type, 1, got.Data))
		})
	}
}

func TestDecode_PrefersTheEnvelopeToHeaders(t *testing.T) {
	t.Parallel()
	got, err := events.Decode(binaryHeaders("ce_subject", "x")[1:], nil, []byte(golden(t, "account.restored")))
	require.NoError(t, err)
	require.Equal(t, events.Type("account.restored"), got.Type)
	both, err := events.Decode(headers("ce_specversion", "9", "ce_type", "account.deleted"), nil, []byte(golden(t, "account.restored")))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(got, both))
}

func TestDecode_RefusesWhatIsNoCloudEvent(t *testing.T) {
	t.Parallel()
	structured := headers("content-type", "application/cloudevents+json")
	for name, tc := range map[string]struct {
		headers []events.Header
		value   string
	}{
		"binary of another version":      {headers("ce_specversion", "0.3", "ce_type", "SECRET"), `{}`},
		"binary of a later version":      {headers("ce_specversion", "2.0", "ce_type", "SECRET"), `{}`},
		"binary without type":            {headers("ce_specversion", "1.0", "ce_id", "SECRET"), `{}`},
		"binary of two types":            {binaryHeaders("ce_type", "SECRET"), `{}`},
		"no version":                     {headers("ce_type", "SECRET"), `{}`},
		"structured, not JSON":           {structured, `SECRET`},
		"structured without version":     {structured, `{"type":"SECRET"}`},
		"structured of another version":  {structured, `{"specversion":"0.3","type":"SECRET"}`},
		"structured of version 1":        {structured, `{"specversion":1.0,"type":"SECRET"}`},
		"structured without type":        {structured, `{"specversion":"1.0","eventType":"SECRET"}`},
		"structured, type twice":         {structured, `{"specversion":"1.0","type":"a","type":"SECRET"}`},
		"structured, no base64":          {structured, `{"specversion":"1.0","type":"a","data_base64":"SECRET*"}`},
		"structured, data twice":         {structured, `{"specversion":"1.0","type":"a","data":"SECRET","data_base64":"e30="}`},
		"structured in another format":   {headers("content-type", "application/cloudevents+avro"), `{"specversion":"1.0","type":"a"}`},
		"several in one record":          {headers("content-type", "application/cloudevents-batch+json"), `[{"specversion":"1.0","type":"SECRET"}]`},
		"several, but looks like one":    {headers("content-type", "application/cloudevents-batch+json"), `{"specversion":"1.0","type":"SECRET"}`},
		"structured, and binary headers": {append(binaryHeaders()[:5:5], structured...), `SECRET`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := events.Decode(tc.headers, []byte("k"), []byte(tc.value))
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			require.Equal(t, events.ReasonInvalidEvent, fault.ReasonOf(err))
			require.NotContains(t, err.Error(), "SECRET")
			require.Empty(t, e.Type)
			require.NotEmpty(t, e.ID)
		})
	}
}

func TestDecode_LeavesDataOfOtherFormatsToNobody(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "\x00\xff avro", "text"} {
		e, err := events.Decode(binaryHeaders(), nil, []byte(value))
		require.NoError(t, err, "its type may be of no interest")
		require.Equal(t, fault.Invalid, fault.CodeOf(events.ValidateData(e.Type, 1, e.Data)), "%q", value)
		_, err = e.Field("accountId")
		require.Equal(t, fault.Invalid, fault.CodeOf(err))
	}
	_, err := events.Decode(binaryHeaders(), []byte("k"), nil)
	require.ErrorIs(t, err, events.ErrNoValue, "without data, the mark of a deletion in a compacted topic")
}

func TestDecode_TellsEventsWithoutAnIDApartByTheirHeaders(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, tc := range [][2]string{{"account.deleted", "2024-10-07T17:00:00Z"}, {"account.restored", "2024-10-07T17:00:00Z"}, {"account.deleted", "2024-10-07T17:00:01Z"}} {
		h := headers("ce_specversion", "1.0", "ce_type", tc[0], "ce_time", tc[1], "ce_source", "/accounts")
		e, err := events.Decode(h, []byte("a"), []byte(`{"accountId":"a"}`))
		require.NoError(t, err)
		require.Regexp(t, `^sha256:[0-9a-f]{64}$`, e.ID)
		require.False(t, seen[e.ID], "%v", tc)
		seen[e.ID] = true
		again, err := events.Decode(h, []byte("a"), []byte(`{"accountId":"a"}`))
		require.NoError(t, err)
		require.Equal(t, e.ID, again.ID)
	}
}
