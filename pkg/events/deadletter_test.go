package events_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
)

func letter(r events.Record) events.DeadLetter {
	return events.DeadLetter{
		ID: uuid.MustParse("0192679c-5a00-7000-8000-0123456789ab"), Topic: "preferences.dead-letters", Record: r, Group: "prefsd",
		Class: events.Poison, Code: events.ReasonInvalidEvent, Why: "The value is not UTF-8.", Attempts: 1, FailedAt: at,
		FirstFailedAt: at.Add(-time.Minute), Version: "v1.2.3",
	}
}

func headersOf(m events.Message) map[string]string {
	out := map[string]string{}
	for _, h := range m.Raw.Headers {
		out[h.Name] = string(h.Value)
	}
	return out
}

func TestDeadLetter_KeepsTheRecordAndSaysWhatHappened(t *testing.T) {
	t.Parallel()
	original := []events.Header{{Name: "a", Value: []byte("\x00\xff")}, {Name: "a", Value: nil}, {Name: "", Value: []byte{}}}
	m := letter(events.Record{
		Topic: "account.events", Partition: 3, Offset: 1 << 40, Time: at.Add(-time.Hour), Key: []byte("k\x00\xff"), Value: []byte("{\xff"), Headers: original,
	}).Message()
	require.Equal(t, events.DeadLetterRecord, m.Type)
	require.Equal(t, "preferences.dead-letters", m.Topic)
	require.Equal(t, "dead-letter", m.Aggregate)
	require.Zero(t, m.SchemaVersion())
	require.Equal(t, []byte("{\xff"), m.Payload)
	require.Equal(t, []byte("k\x00\xff"), m.Raw.Key)
	require.Regexp(t, `^sha256:[0-9a-f]{64}$`, m.Key, "the column is text: no NUL, no broken UTF-8, indexed")
	want := append(original[:len(original):len(original)], []events.Header{
		{Name: "dlt.original.topic", Value: []byte("account.events")},
		{Name: "dlt.original.partition", Value: []byte("3")},
		{Name: "dlt.original.offset", Value: []byte("1099511627776")},
		{Name: "dlt.original.timestamp", Value: []byte("2024-10-07T16:00:00.123456Z")},
		{Name: "dlt.consumer.group", Value: []byte("prefsd")},
		{Name: "dlt.error.class", Value: []byte("poison")},
		{Name: "dlt.error.code", Value: []byte("INVALID_EVENT")},
		{Name: "dlt.error.message", Value: []byte("The value is not UTF-8.")},
		{Name: "dlt.attempts", Value: []byte("1")},
		{Name: "dlt.first-failed-at", Value: []byte("2024-10-07T16:59:00.123456Z")},
		{Name: "dlt.failed-at", Value: []byte("2024-10-07T17:00:00.123456Z")},
		{Name: "dlt.original.key-hash", Value: []byte("sha256:9b95f116c813424b9dcb5e9e60254fbac58db6579b73f9f5e40e18e8ebe4e27f")},
		{Name: "dlt.service.version", Value: []byte("v1.2.3")},
	}...)
	require.Empty(t, cmp.Diff(want, m.Raw.Headers))
}

func TestDeadLetter_TellsNothingFromEmpty(t *testing.T) {
	t.Parallel()
	none := letter(events.Record{}).Message()
	require.Nil(t, none.Raw.Key)
	require.Nil(t, none.Payload)
	require.Empty(t, none.Key)
	empty := letter(events.Record{Key: []byte{}, Value: []byte{}}).Message()
	require.NotNil(t, empty.Raw.Key)
	require.NotNil(t, empty.Payload)
	require.NotEqual(t, none.Key, empty.Key)
}

func TestDeadLetter_OfADeadLetterSpeaksOfTheNewFailure(t *testing.T) {
	t.Parallel()
	first := letter(events.Record{Topic: "account.events", Offset: 1, Headers: []events.Header{{Name: "x", Value: []byte("kept")}}}).Message()
	redriven := append(first.Raw.Headers, events.Header{Name: "dlt.replay", Value: []byte("1")})
	second := letter(events.Record{Topic: "account.events", Offset: 9, Headers: redriven}).Message()
	require.Len(t, second.Raw.Headers, len(first.Raw.Headers)+1)
	got := headersOf(second)
	require.Equal(t, "9", got["dlt.original.offset"])
	require.Equal(t, "kept", got["x"])
	require.Equal(t, "1", got["dlt.replay"])
}

func TestDeadLetter_EscapesNamesThatNoTextColumnTakes(t *testing.T) {
	t.Parallel()
	m := letter(events.Record{Headers: []events.Header{{Name: "a\x00b\xffc é 100%"}, {Name: "plain 100%"}, {Name: "\ufffd"}}}).Message()
	require.Equal(t, "a%00b%FFc é 100%", m.Raw.Headers[0].Name)
	require.Equal(t, "plain 100%", m.Raw.Headers[1].Name)
	require.Equal(t, "\ufffd", m.Raw.Headers[2].Name)
}

func TestDeadLetter_LeavesOutWhatNoBrokerTakes(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 1<<20)
	small := []events.Header{{Name: "x", Value: []byte("kept")}}
	for name, tc := range map[string]struct {
		record                         events.Record
		value, key, header, isTruncted bool
	}{
		"all fits":          {events.Record{Key: []byte("k"), Value: large[:990_000], Headers: small}, true, true, true, false},
		"value is large":    {events.Record{Key: []byte("k"), Value: large, Headers: small}, false, true, true, true},
		"header is large":   {events.Record{Key: []byte("k"), Value: []byte("v"), Headers: []events.Header{{Name: "x", Value: large}}}, false, true, false, true},
		"name is large":     {events.Record{Key: []byte("k"), Value: []byte("v"), Headers: []events.Header{{Name: strings.Repeat("\x00", 500_000)}}}, false, true, false, true},
		"key is large":      {events.Record{Key: large, Value: []byte("v"), Headers: small}, false, false, false, true},
		"many tiny headers": {events.Record{Key: []byte("k"), Value: []byte("v"), Headers: make([]events.Header, 200_000)}, false, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := letter(tc.record).Message()
			require.Equal(t, tc.value, m.Payload != nil)
			require.Equal(t, tc.key, m.Raw.Key != nil)
			require.Equal(t, tc.header, headersOf(m)["x"] == "kept")
			require.Equal(t, tc.isTruncted, headersOf(m)["dlt.truncated"] == "true")
			require.Equal(t, "account.events", headersOf(letter(events.Record{Topic: "account.events"}).Message())["dlt.original.topic"])
			require.LessOrEqual(t, sizeOf(m), 1_000_000)
		})
	}
}

func TestDeadLetter_ShortensItsMessageBetweenCharacters(t *testing.T) {
	t.Parallel()
	d := letter(events.Record{})
	d.Why = "x" + strings.Repeat("é", 1000)
	got := headersOf(d.Message())["dlt.error.message"]
	require.Len(t, got, 1023)
	require.True(t, utf8.ValidString(got))

	const half = "\xa9" // of a character
	for name, why := range map[string]string{
		"nothing but halves":      strings.Repeat(half, 2000),
		"halves after characters": "é" + strings.Repeat(half, 2000),
	} {
		d.Why = why
		require.Equal(t, why[:1024], headersOf(d.Message())["dlt.error.message"], name)
	}
}

func sizeOf(m events.Message) int {
	size := len(m.Payload) + len(m.Raw.Key)
	for _, h := range m.Raw.Headers {
		size += len(h.Name) + len(h.Value)
	}
	return size
}

func FuzzDeadLetter(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), "name", []byte("header"), "why")
	f.Add([]byte("\x00"), []byte("\xff"), "\x00\xff", []byte("\x00"), "\xff\xfe")
	f.Add([]byte("k"), []byte("v"), "name", []byte("header"), strings.Repeat("\x80", 1025))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, why string) {
		d := letter(events.Record{Key: key, Value: value, Headers: []events.Header{{Name: name, Value: header}}})
		d.Why = why
		m := d.Message()
		if sizeOf(m) > 1_000_000 {
			t.Fatalf("%d bytes", sizeOf(m))
		}
		for _, h := range m.Raw.Headers {
			if !utf8.ValidString(h.Name) || strings.Contains(h.Name, "\x00") {
				t.Fatalf("header %q cannot be stored", h.Name)
			}
		}
		if len(key)+len(value)+len(name)*3+len(header) < 100_000 && (!bytes.Equal(m.Payload, value) || !bytes.Equal(m.Raw.Key, key)) {
			t.Fatal("a small record was changed")
		}
	})
}

func TestDeadLetter_IsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	want := letter(events.Record{
		Topic: "account.events", Partition: 3, Offset: 7, Time: at.Add(-time.Hour), Key: []byte("k\xff"), Value: []byte("{"),
		Headers: []events.Header{{Name: "a", Value: []byte("\x00")}, {Name: "a"}},
	})
	asRecord := func(d events.DeadLetter) events.Record {
		m := d.Message()
		return events.Record{Topic: m.Topic, Key: m.Raw.Key, Value: m.Payload, Headers: m.Raw.Headers}
	}
	got, err := events.ReadDeadLetter(asRecord(want))
	require.NoError(t, err)
	got.ID = want.ID // the record does not have it
	require.Regexp(t, `^sha256:[0-9a-f]{64}$`, got.KeyHash)
	want.KeyHash = got.KeyHash
	require.Empty(t, cmp.Diff(want, got))
	require.Zero(t, got.Replays())

	for n := 1; n <= 3; n++ { // it fails every time
		got.Record = got.Redriven()
		got, err = events.ReadDeadLetter(asRecord(got))
		require.NoError(t, err)
		require.Equal(t, n, got.Replays())
		require.Len(t, got.Record.Headers, 3, "the count replaces the one before")
	}

	large := want
	large.Record.Value = make([]byte, 2_000_000)
	got, err = events.ReadDeadLetter(asRecord(large))
	require.NoError(t, err)
	require.True(t, got.Truncated)
	_, err = events.ReadDeadLetter(events.Record{Value: []byte("of somebody else")})
	require.ErrorIs(t, err, events.ErrNoLetter)
}
