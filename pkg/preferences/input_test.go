package preferences

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
)

func accounts(t *testing.T) Domain {
	t.Helper()
	d, err := DefaultDomains().Find("accounts")
	require.NoError(t, err)
	return d
}

func TestInputsAreOrderedByOrderOrByPlace(t *testing.T) {
	t.Parallel()
	d := accounts(t)
	nine, five, one := 9, 5, 1
	wanted, err := d.wantedOf([]Input{{EntityID: "a", Order: &nine}, {EntityID: "b", Order: &one}, {EntityID: "c", Order: &five}})
	require.NoError(t, err)
	require.Equal(t, want("b", "c", "a"), wanted)
	wanted, err = d.wantedOf([]Input{{EntityID: "b"}, {EntityID: "a", EntityType: "account"}})
	require.NoError(t, err)
	require.Equal(t, want("b", "a"), wanted)
	wanted, err = d.wantedOf(nil)
	require.NoError(t, err)
	require.Empty(t, wanted)
}

func TestEveryViolationIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	zero, two, huge := 0, 2, math.MaxInt32+1
	_, err := accounts(t).wantedOf([]Input{
		{EntityID: "a", Order: &two},
		{EntityID: "a", Order: &two},
		{EntityID: "no spaces", Order: &zero},
		{EntityID: "b", EntityType: "card"},
		{EntityID: "c", Order: &huge, Attributes: json.RawMessage(`[]`)},
	})
	f := new(fault.Error)
	require.ErrorAs(t, err, &f)
	require.Equal(t, fault.ReasonDuplicateEntity, f.Reason, "the first one gives the reason")
	fields := make([]string, len(f.Violations))
	for i, v := range f.Violations {
		fields[i] = v.Field
	}
	require.Equal(t, []string{
		"preferences[1].entityId", "preferences[1].order", "preferences[2].entityId", "preferences[2].order",
		"preferences[3].entityType", "preferences[3].order", "preferences[4].attributes", "preferences[4].order",
	}, fields)
	require.Contains(t, f.Violations[0].Description, "preferences[0].entityId")
}

func TestLimitsOfAttributes(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1)
	}
	keys := func(n int) string {
		m := map[string]int{}
		for i := range n {
			m[fmt.Sprint(i)] = i
		}
		b, err := json.Marshal(m)
		require.NoError(t, err)
		return string(b)
	}
	for _, tc := range []struct {
		name, in string
		good     bool
	}{
		{"empty", `{}`, true},
		{"null", `null`, false},
		{"array", `[]`, false},
		{"deep enough", nested(16), true},
		{"too deep", nested(17), false},
		{"many names", keys(256), true},
		{"too many names", keys(257), false},
		{"long name", `{"` + strings.Repeat("é", 128) + `":1}`, true},
		{"too long a name", `{"` + strings.Repeat("é", 129) + `":1}`, false},
		{"large", `{"a":"` + strings.Repeat("x", MaxAttributesBytes-20) + `"}`, true},
		{"too large", `{"a":"` + strings.Repeat("x", MaxAttributesBytes) + `"}`, false},
		{"too large when written out", `{"a":[` + strings.Repeat("1e308,", 100) + `0]}`, false},
	} {
		_, err := accounts(t).wantedOf([]Input{{EntityID: "a", Attributes: json.RawMessage(tc.in)}})
		require.Equal(t, tc.good, err == nil, "%s: %v", tc.name, err)
	}
}

// TestAttributesThatAreTooLargeAreNotDecoded: a body of the greatest size would
// become many times as much.
func TestAttributesThatAreTooLargeAreNotDecoded(t *testing.T) { //nolint:paralleltest // it counts allocations
	for name, in := range map[string]string{
		"arrays": `{"a":[` + strings.Repeat("[],", 350_000) + `[]]}`, "text": `{"a":"` + strings.Repeat("x", 1<<20) + `"}`,
		"escapes": `{"a":"` + strings.Repeat(`\u0041`, 170_000) + `"}`,
	} {
		var why string
		require.Less(t, testing.AllocsPerRun(1, func() { _, why = checkAttributes(json.RawMessage(in)) }), 10.0, name)
		require.Contains(t, why, "must not be larger than 16384 bytes", name)
	}
	spacious := `{"a":` + strings.Repeat(" ", 1<<20) + `"` + strings.Repeat(`\u0041`, MaxAttributesBytes-9) + `"}`
	out, why := checkAttributes(json.RawMessage(spacious))
	require.Empty(t, why, "what shrinks enough is taken")
	require.Len(t, out, MaxAttributesBytes)
}

func TestAListIsNotLargerThanAListMayBe(t *testing.T) {
	t.Parallel()
	many := make([]Input, MaxItems+1)
	_, err := accounts(t).wantedOf(many)
	require.Equal(t, fault.ReasonTooManyItems, fault.ReasonOf(err))

	heavy := listOf()
	for i := range 70 {
		heavy.Items = append(heavy.Items, Item{EntityType: "account", EntityID: fmt.Sprint(i), Attributes: json.RawMessage(`{"a": "` + strings.Repeat("x", 15<<10) + `"}`)})
	}
	require.Equal(t, fault.Invalid, fault.CodeOf(checkSize(heavy)))
	shrink := Diff(heavy, heavy.Wanted()[1:], stamp(1))
	require.NoError(t, shrink.Check(), "a write that only removes is always welcome")
}

func TestDomainsAreData(t *testing.T) {
	t.Parallel()
	d, err := ParseDomains([]byte(`[{"name":"cards","entityType":"card","events":{"topic":"card.events","idField":"cardId","deleted":"card.deleted"}},{"name":"apps","entityType":"app"}]`))
	require.NoError(t, err)
	require.Equal(t, []string{"apps", "cards"}, d.Names())
	require.Equal(t, []string{"card.events"}, d.Topics())
	require.True(t, d.HasEntityType("app"))
	require.False(t, d.HasEntityType("account"))
	_, err = d.Find("accounts")
	require.Equal(t, fault.ReasonUnknownDomain, fault.ReasonOf(err))
	require.ErrorContains(t, err, "apps, cards")

	for _, bad := range []string{
		`[]`, `{}`, `[{"name":"Cards","entityType":"card"}]`, `[{"name":"a","entityType":"$user"}]`, `[{"name":"a","entityType":"x"},{"name":"a","entityType":"x"}]`,
		`[{"name":"a","entityType":"x","events":{"topic":"t"}}]`, `[{"name":"a","entityType":"x","colour":"red"}]`, `[{"name":"a","entityType":"x"}] []`,
	} {
		_, err := ParseDomains([]byte(bad))
		require.Error(t, err, bad)
	}
}
