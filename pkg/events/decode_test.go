package events_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
)

func TestDecode_ReadsTheSeedsEnvelope(t *testing.T) {
	t.Parallel()
	got, err := events.Decode([]events.Header{{Name: "x"}, {Name: "Traceparent", Value: []byte(trace)}}, []byte("acc-003"), []byte(golden(t, "account.deleted")))
	require.NoError(t, err)
	want := events.Event{
		ID: "evt-12345", Type: "account.deleted", Time: time.Date(2024, 10, 7, 17, 0, 0, 0, time.UTC), Data: got.Data, Traceparent: trace,
	}
	require.Empty(t, cmp.Diff(want, got))
	id, err := got.Field("accountId")
	require.NoError(t, err)
	require.Equal(t, "acc-003", id)
}

func TestDecode_LeavesToTheHandlerWhatOnlySomeTypesNeed(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"nothing else":     `{"eventType":"x"}`,
		"no time":          `{"eventType":"x","timestamp":null,"data":{}}`,
		"time of no sort":  `{"eventType":"x","timestamp":"yesterday"}`,
		"time as a number": `{"eventType":"x","timestamp":1728320400}`,
		"time without T":   `{"eventType":"x","timestamp":"2024-10-07 17:00:00Z"}`,
		"time of no zone":  `{"eventType":"x","timestamp":"2024-10-07T17:00:00"}`,
		"space around":     " \n{\"eventType\":\"x\"}\t",
		"other spelling":   `{"eventType":"x","EventType":"y","EVENTTYPE":"z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := events.Decode(nil, nil, []byte(value))
			require.NoError(t, err)
			require.Equal(t, events.Type("x"), e.Type)
			require.True(t, e.Time.IsZero())
		})
	}
}

func TestDecode_ReadsTimesOfRFC3339(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2024-10-07T17:00:00Z":          time.Date(2024, 10, 7, 17, 0, 0, 0, time.UTC),
		"2024-10-07t17:00:00.123456z":   time.Date(2024, 10, 7, 17, 0, 0, 123456000, time.UTC),
		"2024-10-07T19:00:00+02:00":     time.Date(2024, 10, 7, 17, 0, 0, 0, time.UTC),
		"2024-10-07T17:00:00.1-00:00":   time.Date(2024, 10, 7, 17, 0, 0, 100000000, time.UTC),
		"9999-12-31T23:59:59.999999Z":   time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		"2024-02-30T00:00:00Z":          {},
		"12024-10-07T17:00:00Z":         {},
		"2024-10-07T17:00:00.5+99:99":   {},
		"2024-10-07T17:00:00Z trailing": {},
	} {
		e, err := events.Decode(nil, nil, []byte(`{"eventType":"x","timestamp":"`+text+`"}`))
		require.NoError(t, err)
		require.Equal(t, want, e.Time, text)
	}
}

func TestDecode_RefusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"empty":            "",
		"not JSON":         "SECRET",
		"cut off":          `{"eventType":"SECRET"`,
		"two values":       `{"eventType":"SECRET"}{}`,
		"byte order mark":  "\ufeff{\"eventType\":\"SECRET\"}",
		"not UTF-8":        "{\"eventType\":\"SECRET\xff\"}",
		"NUL":              "{\"eventType\":\"SECRET\x00\"}",
		"array":            `["SECRET"]`,
		"string":           `"SECRET"`,
		"null":             "null",
		"no type":          `{"type":"SECRET","data":{}}`,
		"type null":        `{"eventType":null,"SECRET":1}`,
		"type empty":       `{"eventType":"","SECRET":1}`,
		"type a number":    `{"eventType":7,"SECRET":1}`,
		"two ids":          `{"eventType":"SECRET","eventId":"a","eventId":"b"}`,
		"two spellings":    `{"eventType":"SECRET","data":{},"d\u0061ta":{}}`,
		"too deep":         strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"one byte too big": `{"eventType":"x","SECRET":"` + strings.Repeat("a", events.MaxValueBytes) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := events.Decode(nil, []byte("k"), []byte(value))
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			require.Equal(t, events.ReasonInvalidEvent, fault.ReasonOf(err))
			require.NotContains(t, err.Error(), "SECRET")
			require.Regexp(t, `^sha256:[0-9a-f]{64}$`, e.ID)
		})
	}
}

func TestDecode_TakesAValueOfTheLargestSize(t *testing.T) {
	t.Parallel()
	head, tail := `{"eventType":"x","data":"`, `"}`
	value := head + strings.Repeat("a", events.MaxValueBytes-len(head)-len(tail)) + tail
	_, err := events.Decode(nil, nil, []byte(value))
	require.NoError(t, err)
}

func TestDecode_TellsANullValueFromAnEmptyOne(t *testing.T) {
	t.Parallel()
	e, err := events.Decode(nil, []byte("k"), nil)
	require.ErrorIs(t, err, events.ErrNoValue)
	require.NotEmpty(t, e.ID)
	_, err = events.Decode(nil, []byte("k"), []byte{})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

func TestDecode_GivesEveryRecordAnID(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("i", 128)
	for id, kept := range map[string]string{
		`"evt-1"`:            "evt-1",
		`"a b~!"`:            "a b~!",
		`"` + long + `"`:     long,
		`"` + long + `i"`:    "",
		`""`:                 "",
		`null`:               "",
		`12345`:              "",
		`"tab\there"`:        "",
		`"nul\u0000"`:        "",
		`"caf\u00e9"`:        "",
		`["evt-1"]`:          "",
		`"\u0065vt-escaped"`: "evt-escaped",
	} {
		value := []byte(`{"eventType":"x","eventId":` + id + `}`)
		e, err := events.Decode(nil, []byte("k"), value)
		require.NoError(t, err)
		if kept != "" {
			require.Equal(t, kept, e.ID)
			continue
		}
		require.Regexp(t, `^sha256:[0-9a-f]{64}$`, e.ID, id)
	}
}

func TestDecode_DigestsKeyAndValueApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, r := range map[string][2][]byte{
		"no key":          {nil, []byte("ab")},
		"empty key":       {{}, []byte("ab")},
		"key a":           {[]byte("a"), []byte("b")},
		"key ab":          {[]byte("ab"), {}},
		"key ab, no more": {[]byte("ab"), []byte("x")},
	} {
		e, err := events.Decode(nil, r[0], r[1])
		require.Error(t, err)
		again, _ := events.Decode(nil, slices.Clone(r[0]), slices.Clone(r[1]))
		require.Equal(t, e.ID, again.ID)
		require.Empty(t, seen[e.ID], name)
		seen[e.ID] = name
	}
}

func TestField_WantsAString(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "null", "[]", `"SECRET"`, `{}`, `{"id":null}`, `{"id":1,"SECRET":2}`, `{"id":{"SECRET":1}}`, `{"ID":"SECRET"}`} {
		_, err := events.Event{Data: []byte(data)}.Field("id")
		require.Equal(t, fault.Invalid, fault.CodeOf(err), data)
		require.NotContains(t, err.Error(), "SECRET")
	}
	got, err := events.Event{Data: []byte(`{"id":"x"}`)}.Field("id")
	require.NoError(t, err)
	require.Equal(t, "x", got)
}

func TestDecode_IgnoresWhatIsNoTraceContext(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"", "00-short-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"} {
		e, err := events.Decode([]events.Header{{Name: "traceparent", Value: []byte(v)}}, nil, []byte(`{"eventType":"x"}`))
		require.NoError(t, err)
		require.Empty(t, e.Traceparent, "%q", v)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"eventType":"account.deleted","eventId":"evt-1","timestamp":"2024-10-07T17:00:00Z","data":{"accountId":"acc-1"}}`,
		`{"eventType":"x","eventId":"\ud800"}`, `{"eventType":1e999}`, "", "null", "[[", "\x00",
	} {
		f.Add([]byte("key"), []byte(seed), "", "")
	}
	f.Add([]byte("key"), []byte(`{"accountId":"acc-1"}`), "ce_specversion", "1.0")
	f.Add([]byte("key"), []byte(`{"specversion":"1.0","type":"x","data_base64":"e30="}`), "content-type", "application/cloudevents+json")
	printable := func(r rune) bool { return r < ' ' || r > '~' }
	f.Fuzz(func(t *testing.T, key, value []byte, name, text string) {
		headers := []events.Header{{Name: name, Value: []byte(text)}, {Name: "ce_type", Value: []byte(text)}}
		e, err := events.Decode(headers, key, value)
		if e.ID == "" || len(e.ID) > 128 || strings.ContainsFunc(e.ID, printable) {
			t.Fatalf("id %q", e.ID)
		}
		again, errAgain := events.Decode(headers, key, value)
		if again.ID != e.ID || (err == nil) != (errAgain == nil) {
			t.Fatal("a second look sees something else")
		}
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid || e.Type != "" {
				t.Fatalf("%v, type %q", err, e.Type)
			}
			return
		}
		if e.Type == "" {
			t.Fatal("an event without a type")
		}
		if err := events.ValidateData("account.deleted", 1, e.Data); err != nil && fault.CodeOf(err) != fault.Invalid {
			t.Fatal(err)
		}
	})
}

func TestField_RefusesAMemberThatIsNamedTwice(t *testing.T) {
	t.Parallel()
	e, err := events.Decode(nil, nil, []byte(`{"eventType":"account.deleted","eventId":"x","data":{"accountId":"a","accountId":"b"}}`))
	require.NoError(t, err)
	_, err = e.Field("accountId")
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}
