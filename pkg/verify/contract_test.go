package verify_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

func TestAnEventThatItsSchemaRefusesIsFound(t *testing.T) {
	t.Parallel()
	good, err := preferences.Announcer{Source: events.Source("test")}.Updated(preferences.Changes{Next: preferences.List{ID: 1, UserID: "u", Domain: "accounts", Version: 1}}, preferences.By{Action: preferences.ActionReplace})
	require.NoError(t, err)
	w := &world{outbox: []verify.OutboxRow{
		{EventID: good.ID, Type: good.Type, Payload: good.Payload},
		{EventID: preferences.NewID(), Type: events.PreferencesUpdated, Payload: []byte(`{"eventType":"preferences.updated"}`)},
	}}
	report, err := verify.Contract(t.Context(), w)
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	require.Equal(t, "contract", report.Findings[0].Invariant)
}
