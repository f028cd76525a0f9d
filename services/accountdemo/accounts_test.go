package accountdemo

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheAccountsOfTheScenariosComeFirst(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(wire([]account{seeded(1), seeded(2), seeded(3), seeded(4)}))
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"id": "acc-001", "name": "Enterprise Account A", "type": "enterprise", "createdAt": "2024-01-10T10:00:00Z"},
		{"id": "acc-002", "name": "SMB Account B", "type": "small_business", "createdAt": "2024-01-12T14:30:00Z"},
		{"id": "acc-003", "name": "Startup Account C", "type": "startup", "createdAt": "2024-01-15T09:15:00Z"},
		{"id": "acc-004", "name": "Corporate Account D", "type": "corporate", "createdAt": "2024-01-18T11:45:00Z"}
	]`, string(got))
}

func TestMadeUpAccountsDiffer(t *testing.T) {
	t.Parallel()
	ids, names := map[string]bool{}, map[string]bool{}
	before := seeded(1)
	for n := 1; n <= 1200; n++ {
		a := seeded(n)
		require.False(t, ids[a.ID] || names[a.Name], "%d: %s %s is there already", n, a.ID, a.Name)
		require.NotEmpty(t, a.Type)
		require.False(t, a.CreatedAt.Before(before.CreatedAt))
		require.Equal(t, a, seeded(n))
		ids[a.ID], names[a.Name], before = true, true, a
	}
	require.Equal(t, "acc-007", seeded(7).ID)
	require.Equal(t, "acc-1000", seeded(1000).ID)
}
