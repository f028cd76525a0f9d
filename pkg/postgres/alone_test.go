package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// A patch of attributes reads its item alone. What it answers, writes and tells
// must be that of a write that has read the whole list.

func TestAPatchOfAnItemAloneIsThatOfItsList(t *testing.T) {
	t.Parallel()
	for name, orders := range map[string][]int{"an ordinary list": {1, 2, 3}, "a list that shows gaps": {1, 3, 5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.save(t, "u", "a", "b", "c", "d", "e")
			for _, id := range []string{"b", "d"} {
				_, err := h.CleanOrphaned(t.Context(), alice, account(id), orders[1] == 2)
				require.NoError(t, err)
			}
			before, err := h.List(t.Context(), "u", "accounts")
			require.NoError(t, err)
			for i, it := range before.Items {
				res, err := h.Patch(t.Context(), "u", it.ID, alice, preferences.Terms{}, preferences.Patch{Attributes: json.RawMessage(fmt.Sprintf(`{"n": %d}`, i))})
				require.NoError(t, err)
				require.Equal(t, preferences.Summary{Updated: 1, Total: 3}, res.Summary)
				require.Equal(t, orders[i], res.List.Item(it.ID).Order)
				after, err := h.List(t.Context(), "u", "accounts")
				require.NoError(t, err)
				require.Equal(t, res.List.Item(it.ID), after.Items[i])
				require.Equal(t, res.List.ETag(), after.ETag())
				told := h.updated(t)
				require.Equal(t, []any{3, []string{}, []string{it.EntityID}, []string{"attributes.n"}}, []any{told.Total, told.Created, told.Updated, told.ChangedFields})
				require.Equal(t, after.ETag(), told.ETag)
			}
		})
	}
}

// updated is the youngest event about a list.
func (h *house) updated(t *testing.T) (u events.Updated) {
	t.Helper()
	var payload []byte
	require.NoError(t, h.admin.QueryRow(t.Context(), "select payload from outbox where type = 'preferences.updated' order by id desc limit 1").Scan(&payload))
	require.NoError(t, json.Unmarshal(payload, &struct{ Data *events.Updated }{&u}))
	return u
}

func TestAPatchOfAnItemAloneKnowsHowLargeItsListIs(t *testing.T) {
	t.Parallel()
	h := open(t)
	filled := func(n int) json.RawMessage {
		return json.RawMessage(`{"a": "` + strings.Repeat("x", n-len(`{"a": ""}`)) + `"}`)
	}
	const many = 65 // the fewest that can be too large together
	in := inputs(make([]string, many)...)
	for i := range in {
		in[i].EntityID, in[i].Attributes = fmt.Sprint("e", i), filled(preferences.MaxAttributesBytes)
	}
	in[0].Attributes = filled(1000)
	_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, in)
	require.Equal(t, fault.Invalid, fault.CodeOf(err), "the others alone fill it")
	in[1].Attributes = filled(preferences.MaxAttributesBytes - 1000)
	res, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, in)
	require.NoError(t, err, "to the last byte")

	first, second := res.List.Items[0].ID, res.List.Items[1].ID
	_, err = h.Patch(t.Context(), "u", first, alice, preferences.Terms{}, preferences.Patch{Attributes: filled(1001)})
	require.Equal(t, fault.Invalid, fault.CodeOf(err), "one byte more")
	_, err = h.Patch(t.Context(), "u", second, alice, preferences.Terms{}, preferences.Patch{Attributes: filled(preferences.MaxAttributesBytes - 1001)})
	require.NoError(t, err)
	_, err = h.Patch(t.Context(), "u", first, alice, preferences.Terms{}, preferences.Patch{Attributes: filled(1001)})
	require.NoError(t, err, "there is room for it now")
	require.Equal(t, 3, h.count(t, "select version from preference_lists"))
}
