package preferences

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
)

func TestALargePartIsCutAndEndsOnce(t *testing.T) {
	t.Parallel()
	touched := make([]events.TouchedList, 1000)
	for i := range touched {
		touched[i] = events.TouchedList{UserID: strings.Repeat("\x01", 250) + fmt.Sprintf("%05d", i), Domain: "accounts", ListID: int64(i), Version: 2}
	}
	c := Clean{Held: Held{Cause: "event:e"}, Target: Target{Entity: Entity{"account", "x"}}, Parts: 3, Deleted: 10}
	messages, err := Announcer{CleanedTopic: "cleaned"}.Cleaned(&c, touched, Complete, start)
	require.NoError(t, err)
	require.Greater(t, len(messages), 1)
	require.Equal(t, 3+len(messages), c.Parts)
	require.EqualValues(t, 1010, c.Deleted)
	lists := 0
	for i, m := range messages {
		require.LessOrEqual(t, len(m.Payload), maxPartBytes+200)
		require.Equal(t, "x", m.Key)
		var env struct{ Data events.Cleaned }
		require.NoError(t, json.Unmarshal(m.Payload, &env))
		require.Equal(t, i == len(messages)-1, env.Data.Final)
		require.Equal(t, 4+i, env.Data.Part)
		lists += len(env.Data.Lists)
	}
	require.Equal(t, 1000, lists)
}

func TestTheLastPartSaysHowACleanEnds(t *testing.T) {
	t.Parallel()
	for end, want := range map[Ending][2]bool{Underway: {false, false}, Complete: {true, true}, Incomplete: {true, false}} {
		messages, err := Announcer{CleanedTopic: "cleaned"}.Cleaned(&Clean{Target: Target{Entity: Entity{"account", "x"}}}, nil, end, start)
		require.NoError(t, err)
		require.Len(t, messages, 1)
		var env struct{ Data events.Cleaned }
		require.NoError(t, json.Unmarshal(messages[0].Payload, &env))
		require.Equal(t, want, [2]bool{env.Data.Final, env.Data.Complete})
	}
}

func TestAnUpdateIsAnnouncedWithEverythingThatChanged(t *testing.T) {
	t.Parallel()
	c := Diff(listOf("a", "b"), want("b", "c"), stamp(1))
	m, err := Announcer{EventsTopic: "preferences.events", Source: events.Source("main")}.Updated(c, By{Action: ActionReplace, Traceparent: "00-1-2-01"})
	require.NoError(t, err)
	require.Equal(t, "preferences.events", m.Topic)
	require.Equal(t, "u", m.Key)
	require.EqualValues(t, 2, m.Sequence)
	require.Equal(t, "00-1-2-01", m.Traceparent)
	require.JSONEq(t, fmt.Sprintf(`{"eventType":"preferences.updated","eventId":%q,"timestamp":"2026-01-02T03:04:05.000001Z","version":1,"source":"/prefsd/main",
		"data":{"userId":"u","domain":"accounts","listId":1,"version":2,"previousVersion":1,"action":"replace","changedFields":["order"],
		"created":["c"],"updated":["b"],"deleted":["a"],"total":2,"etag":%q}}`, m.ID, c.Next.ETag()), string(m.Payload))
}
