package ijson_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/ijson"
)

func TestNumbersMustSurviveADouble(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"0", "-0", "0.0", "-0.000e999999999999999999999", "1.0", "1e2", "1E+2", "10e-1", "0.1", "1e300", "1e308", "1.7976931348623157e308", "5e-324",
		"2.2250738585072014e-308", "9007199254740992", "9007199254740994", "-9007199254740992", "1152921504606846976", "1152921504606847000",
		"0.30000000000000004", "0.10000000000000001", "123456789012345", "123456789012345000000000", "0.000001", "100000000000000000000000",
		"18446744073709549568", "1152921504606846976.000e0", "115292150460684697.6e1", "-9223372036854775808", "1" + strings.Repeat("0", 300), "0." + strings.Repeat("0", 300) + "1",
	} {
		require.NoError(t, ijson.Check([]byte(good)), good)
	}
	for _, bad := range []string{
		"9007199254740993", "-9007199254740993", "12345678901234567890", "1e309", "1e400", "-1e400", "1e131071", "1e131072", "1e-400",
		"4e-324", "1e999999999999999999999", "1e-99999999999999999999", "3.141592653589793238462643383279", "0.1000000000000000055511151231257827", "18446744073709551615", "18446744073709551616",
		"9223372036854775807", "1152921504606846976.5", "1267650600228229401496703205376",
		"1" + strings.Repeat("0", 400), "1." + strings.Repeat("1", 1<<16), strings.Repeat("7", 1<<20), "9007199254740993e0", "9007199254740993000e-3",
	} {
		require.Error(t, ijson.Check([]byte(bad)), bad[:min(len(bad), 50)])
	}
}

func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	nest := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1) }
	inBody := func(s string) string { return `{"preferences":[{"attributes":` + s + `}]}` }
	_, wrong := decode(t, inBody(nest(16)))
	require.Empty(t, wrong)
	_, wrong = decode(t, inBody(nest(17)))
	require.Equal(t, []string{"preferences[0].attributes" + strings.Repeat(".a", 16) + " nests deeper than 16 levels"}, wrong)
	_, wrong = decode(t, inBody(nest(17)), ijson.MaxDepth(17))
	require.Empty(t, wrong)
	_, wrong = decode(t, `{"domain":`+nest(17)+`}`)
	require.Len(t, wrong, 1)
	_, wrong = decode(t, `{"unknown":`+nest(17)+`}`)
	require.Len(t, wrong, 1)
	require.NoError(t, ijson.Check([]byte(nest(16))))
	require.Error(t, ijson.Check([]byte(nest(17))))
}

func TestHugeInputsAnswerQuickly(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"a million arrays":             strings.Repeat("[", 1_000_000),
		"a million closed arrays":      strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000),
		"a million objects":            strings.Repeat(`{"a":`, 1_000_000),
		"deep attributes":              `{"preferences":[{"attributes":` + strings.Repeat("[", 1_000_000) + `}]}`,
		"deep where a string is due":   `{"domain":` + strings.Repeat("[", 1_000_000) + `}`,
		"a megabyte of blanks":         strings.Repeat(" ", 1<<20),
		"a megabyte of one number":     strings.Repeat("9", 1<<20),
		"a megabyte of one string":     `"` + strings.Repeat("a", 1<<20) + `"`,
		"a megabyte of escapes":        `"` + strings.Repeat(`\u0041`, 1<<20/6) + `"`,
		"a megabyte of empty items":    `{"preferences":[` + strings.Repeat("{},", 1<<20/3) + `{}]}`,
		"a megabyte of wrong items":    `{"preferences":[` + strings.Repeat("7,", 1<<19) + `7]}`,
		"a megabyte of twice the name": `{` + strings.Repeat(`"a":0,`, 1<<20/6) + `"a":0}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := []byte(document)
			var body bodyJSON
			start := time.Now()
			err := ijson.Decode(data, &body)
			took := time.Since(start)
			require.Error(t, err)
			require.Less(t, took, 2*time.Second, "generous for the race detector; the benchmarks tell the true cost")
		})
	}
}

func TestArraysHaveALimit(t *testing.T) {
	t.Parallel()
	items := func(n int) string {
		return `{"preferences":[` + strings.Repeat("{},", n-1) + `{}]}`
	}
	body, wrong := decode(t, items(3), ijson.MaxItems(3))
	require.Empty(t, wrong)
	require.Len(t, body.Preferences, 3)

	err := ijson.Decode([]byte(items(1001)), &body, ijson.MaxItems(1000))
	require.Equal(t, fault.ReasonTooManyItems, fault.ReasonOf(err))
	require.Equal(t, []string{"preferences has 1001 elements, but may have 1000 at most"}, problems(t, err))
	require.LessOrEqual(t, cap(body.Preferences), 1500)
}
