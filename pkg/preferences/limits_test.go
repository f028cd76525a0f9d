package preferences

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
)

func TestIdsUpToTheirLimits(t *testing.T) {
	t.Parallel()
	for id, good := range map[string]bool{
		"":                                 false,
		"a":                                true,
		strings.Repeat("a", MaxEntityID):   true,
		strings.Repeat("a", MaxEntityID+1): false,
	} {
		require.Equal(t, good, checkEntityID(id) == "", "%d characters", len(id))
	}
	require.True(t, IsUserID(strings.Repeat("u", MaxUserID)))
	require.False(t, IsUserID(strings.Repeat("u", MaxUserID+1)))
}

func TestArraysCountAsLevelsAndWhatIsInThemIsChecked(t *testing.T) {
	t.Parallel()
	arrays := func(n int, inner string) json.RawMessage {
		return json.RawMessage(`{"a":` + strings.Repeat("[", n) + inner + strings.Repeat("]", n) + `}`)
	}
	for name, tc := range map[string]struct {
		in   json.RawMessage
		good bool
	}{
		"as deep as can be":  {arrays(MaxAttributesDepth-1, ""), true},
		"a level too deep":   {arrays(MaxAttributesDepth, ""), false},
		"a plain value":      {arrays(1, `1, "x", {"b": null}`), true},
		"too long a name":    {arrays(1, `1, {"`+strings.Repeat("n", MaxAttributesKeyLength+1)+`": 1}`), false},
		"an object too deep": {arrays(MaxAttributesDepth-1, `{}`), false},
	} {
		_, why := checkAttributes(tc.in)
		require.Equal(t, tc.good, why == "", "%s: %s", name, why)
	}
}

func TestAListMayBeAsLargeAsItsLimits(t *testing.T) {
	t.Parallel()
	require.Equal(t, fault.ReasonTooManyItems, fault.ReasonOf(checkSize(List{Items: make([]Item, MaxItems+1)})))
	items := make([]Item, MaxItems)
	require.NoError(t, checkSize(List{Items: items}))

	items[0].Attributes = make(json.RawMessage, MaxListAttributesBytes-1)
	items[1].Attributes = json.RawMessage("x")
	require.NoError(t, checkSize(List{Items: items}))
	items[1].Attributes = json.RawMessage("xy")
	require.Equal(t, fault.ReasonInvalidField, fault.ReasonOf(checkSize(List{Items: items})))

	inputs := make([]Input, MaxItems)
	for i := range inputs {
		inputs[i].EntityID = fmt.Sprint(i)
	}
	_, err := accounts(t).wantedOf(inputs)
	require.NoError(t, err)
}

func TestAWriteThatAddsAndChangesIsHeldToTheLimits(t *testing.T) {
	t.Parallel()
	full := make([]string, MaxItems)
	for i := range full {
		full[i] = fmt.Sprint(i)
	}
	stored := listOf(full...)
	wanted := append(stored.Wanted(), want("one more")...)
	wanted[0].Attributes = json.RawMessage(`{"new": 1}`)
	c := Diff(stored, wanted, stamp(1))
	require.Len(t, c.Insert, 1)
	require.Len(t, c.Update, 1)
	require.Equal(t, fault.ReasonTooManyItems, fault.ReasonOf(c.Check()))
}

func TestOrdersUpToTheirLimits(t *testing.T) {
	t.Parallel()
	orders := func(of ...int) []Input {
		in := make([]Input, len(of))
		for i := range of {
			in[i] = Input{EntityID: fmt.Sprint(i), Order: &of[i]}
		}
		return in
	}
	for name, tc := range map[string]struct {
		in     []Input
		reason fault.Reason
	}{
		"the first and the last": {orders(1, math.MaxInt32), ""},
		"none":                   {orders(0), fault.ReasonInvalidField},
		"more than there are":    {orders(math.MaxInt32 + 1), fault.ReasonInvalidField},
		"the first one twice":    {orders(1, 1), fault.ReasonOrderConflict},
	} {
		_, err := accounts(t).wantedOf(tc.in)
		if tc.reason == "" {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, tc.reason, fault.ReasonOf(err), name)
	}
}

func TestAFilterHoldsAsManyComparisonsAsItMay(t *testing.T) {
	t.Parallel()
	most := strings.Repeat("entityId = a AND ", MaxFilterTerms-1) + "entityId = a"
	_, err := ParseFilter(most)
	require.NoError(t, err)
	_, err = ParseFilter(most + " AND entityId = a")
	require.ErrorContains(t, err, "at most 20 comparisons")
}

// TestPartsAreAsLargeAsTheyMayBe: a list takes 120 bytes, six for each byte of a
// user who is named twice, and its domain.
func TestPartsAreAsLargeAsTheyMayBe(t *testing.T) {
	t.Parallel()
	touched := func(bytes ...int) []events.TouchedList {
		out := make([]events.TouchedList, len(bytes))
		for i, n := range bytes {
			out[i] = events.TouchedList{UserID: "users", Domain: strings.Repeat("d", n-120-2*6*len("users"))}
		}
		return out
	}
	for name, tc := range map[string]struct {
		in   []events.TouchedList
		fits int
	}{
		"none":                                 {touched(), 0},
		"two that fill it":                     {touched(maxPartBytes/2, maxPartBytes/2), 2},
		"two that are a byte too large":        {touched(maxPartBytes/2, maxPartBytes/2+1), 1},
		"one too large for any part, and more": {touched(maxPartBytes+1, 200), 1},
		"little":                               {touched(200, 200, 200), 3},
	} {
		require.Equal(t, tc.fits, fitting(tc.in), name)
	}
}

func TestAnEventIsAsLargeAsABrokerTakes(t *testing.T) {
	t.Parallel()
	erased := func(user int) (events.Message, error) {
		return Announcer{}.Erased(strings.Repeat("u", user), nil, start, "")
	}
	small, err := erased(1)
	require.NoError(t, err)
	most := MaxEventBytes - len(small.Payload) + 1
	largest, err := erased(most)
	require.NoError(t, err)
	require.Len(t, largest.Payload, MaxEventBytes)
	_, err = erased(most + 1)
	require.ErrorContains(t, err, "900001 bytes")
}

func TestAHundredChangedFieldsAreNamed(t *testing.T) {
	t.Parallel()
	changed := func(attributes int) []string {
		fields := map[string]bool{"order": true}
		for i := range attributes {
			fields[fmt.Sprintf("attributes.%03d", i)] = true
		}
		return fieldNames(fields)
	}
	require.Len(t, changed(maxFields-1), maxFields)
	require.NotContains(t, changed(maxFields-1), "attributes.*")
	require.Equal(t, []string{"attributes.*", "order"}, changed(maxFields)[maxFields:])
}

func TestAsManyItemsAsCanStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ places, stay []int }{
		{nil, nil},
		{[]int{7}, []int{7}},
		{[]int{0, 2, 1}, []int{0, 1}},
		{[]int{3, 0, 1, 2}, []int{0, 1, 2}},
		{[]int{1, 2, 3, 0}, []int{1, 2, 3}},
		{[]int{2, 1, 0}, []int{0}},
		{[]int{4, 0, 5, 1, 2, 6}, []int{0, 1, 2, 6}},
	} {
		require.Equal(t, tc.stay, slices.Sorted(maps.Keys(longestIncreasing(tc.places))), "%v", tc.places)
	}
}

func TestAServiceHasTenSecondsUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	require.Equal(t, 10*time.Second, New(Options{}).patience)
	require.Equal(t, time.Minute, New(Options{Patience: time.Minute}).patience)
}
