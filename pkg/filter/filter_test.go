package filter_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/filter"
)

func bare(at int, text string, field ...string) filter.Term {
	return filter.Term{Field: field, Literal: filter.Literal{Text: text}, At: at}
}

func quoted(at int, text string, field ...string) filter.Term {
	return filter.Term{Field: field, Literal: filter.Literal{Text: text, Quoted: true}, At: at}
}

func TestExpressionsAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]filter.Term{
		`entityId = acc-001`:                             {bare(1, "acc-001", "entityId")},
		`entityId="acc-001"`:                             {quoted(1, "acc-001", "entityId")},
		" \t entityId\n=\r\n'acc-001'  ":                 {quoted(4, "acc-001", "entityId")},
		`attributes.isFavorite = true`:                   {bare(1, "true", "attributes", "isFavorite")},
		`attributes."my key".'x' = ""`:                   {quoted(1, "", "attributes", "my key", "x")},
		`a = -1.5e+3 AND b = urn:x:1`:                    {bare(1, "-1.5e+3", "a"), bare(17, "urn:x:1", "b")},
		`a = "é" AND b = 1`:                              {quoted(1, "é", "a"), bare(13, "1", "b")},
		`a = "AND" AND AND1 = and`:                       {quoted(1, "AND", "a"), bare(15, "and", "AND1")},
		`a = "say \"hi\" \\ 'x'" AND b = 'it\'s "fine"'`: {quoted(1, `say "hi" \ 'x'`, "a"), quoted(29, `it's "fine"`, "b")},
		`a=1 AND "AND"=2`:                                {bare(1, "1", "a"), bare(9, "2", "AND")},
	} {
		got, err := filter.Parse(text)
		require.NoError(t, err, text)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestMistakesAreFoundWhereTheyAre(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		at   int
		says string
	}{
		"":                         {1, "name a field"},
		"   ":                      {4, "name a field"},
		"entityId":                 {9, "= here"},
		"entityId =":               {11, "a literal"},
		"entityId == x":            {11, "a literal"},
		"entityId != x":            {10, "= here"},
		"entityId : x":             {10, "= here"},
		"entityId >= x":            {10, "= here"},
		"= x":                      {1, "name a field"},
		".a = x":                   {1, "name a field"},
		"a. = x":                   {3, "name a field"},
		"a .b = x":                 {3, "= here"},
		"(a = x)":                  {1, "name a field"},
		"-a = x AND -b":            {14, "= here"},
		"NOT a = x":                {1, "not NOT"},
		"a = NOT":                  {5, "word NOT"},
		"a = x OR b = y":           {7, "must have AND"},
		"a = x and b = y":          {7, "must have AND"},
		"a = x b = y":              {7, "must have AND"},
		"a = x, b = y":             {6, "must have AND"},
		"a = x AND":                {7, "must have AND"},
		"a = x AND ":               {11, "name a field"},
		"a = x AND AND b = y":      {11, "not AND"},
		"a = x ANDb = y":           {7, "must have AND"},
		"a = x AND(b = y)":         {7, "must have AND"},
		`a = "x`:                   {5, "closing quote"},
		`a = 'x"`:                  {5, "closing quote"},
		`a = "x\`:                  {7, "after a backslash"},
		`a = "\n"`:                 {6, "after a backslash"},
		`a = "x"y`:                 {8, "must have AND"},
		`é = x`:                    {1, "name a field"},
		`a = "é" AND é = x`:        {13, "name a field"},
		"a = acc*":                 {8, "must have AND"},
		"a = x\x00":                {6, "must have AND"},
		"a = \xff":                 {1, "UTF-8"},
		`a = f("x")`:               {6, "must have AND"},
		"attributes.a.b = é":       {18, "a literal"},
		strings.Repeat("a.", 4000): {8001, "name a field"},
	} {
		_, err := filter.Parse(text)
		wrong, ok := errors.AsType[*filter.Error](err)
		require.True(t, ok, "%q: %v", text, err)
		require.Equal(t, want.at, wrong.At, "%q: %v", text, err)
		require.Contains(t, wrong.Problem, want.says, text)
	}
}

// FuzzParse holds that every expression is read or refused within its bounds,
// and that what was read can be written and read again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`entityId = acc-001`, `attributes."my key" = 'it\'s' AND a = true`, `a = "x`, `a = x OR b`, `a.b.c=-1e5`, "\xff", `a = "\\" AND "b"=é`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := filter.Parse(text)
		if err != nil {
			wrong, ok := errors.AsType[*filter.Error](err)
			require.True(t, ok)
			require.True(t, wrong.At >= 1 && wrong.At <= utf8.RuneCountInString(text)+1, "%q: %v", text, err)
			return
		}
		require.NotEmpty(t, terms)
		again, err := filter.Parse(spell(terms))
		require.NoError(t, err)
		require.Len(t, again, len(terms))
		for i, term := range terms {
			require.Equal(t, term.Field, again[i].Field)
			require.Equal(t, term.Literal.Text, again[i].Literal.Text)
		}
	})
}

// spell writes terms with everything in quotes.
func spell(terms []filter.Term) string {
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	parts := make([]string, len(terms))
	for i, term := range terms {
		segments := make([]string, len(term.Field))
		for k, s := range term.Field {
			segments[k] = quote(s)
		}
		parts[i] = strings.Join(segments, ".") + " = " + quote(term.Literal.Text)
	}
	return strings.Join(parts, " AND ")
}
