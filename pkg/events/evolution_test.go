package events_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
)

// released is where every schema is kept as others know it: testdata/released.
const released = "testdata/released"

// annotations say nothing about what fits a schema.
var annotations = []string{"$id", "$comment", "title", "description", "examples", "default", "deprecated"}

// breaks names what keeps the readers of one schema from reading what fits the
// other. The only change that is allowed is one more member. Whoever writes
// events of ours must always write what was once required; whoever reads events
// of others must never require more than they once promised.
func breaks(before, after map[string]any, ours bool, at string) []string {
	var found []string
	for _, word := range keywords(before, after) {
		was, is := before[word], after[word]
		place := strings.TrimPrefix(at+"."+word, ".")
		switch {
		case word == "properties" || word == "$defs":
			found = append(found, breaksOfMembers(asMap(was), asMap(is), ours, place)...)
		case word == "required":
			found = append(found, breaksOfRequired(names(was), names(is), ours, at)...)
		case asMap(was) != nil && asMap(is) != nil:
			found = append(found, breaks(asMap(was), asMap(is), ours, place)...)
		case !reflect.DeepEqual(was, is):
			found = append(found, place+" differs")
		}
	}
	return found
}

func keywords(schemas ...map[string]any) []string {
	all := map[string]bool{}
	for _, s := range schemas {
		for word := range s {
			all[word] = !slices.Contains(annotations, word)
		}
	}
	maps.DeleteFunc(all, func(_ string, counts bool) bool { return !counts })
	return slices.Sorted(maps.Keys(all))
}

func breaksOfMembers(was, is map[string]any, ours bool, at string) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if is[name] == nil {
			found = append(found, at+"."+name+" is gone")
			continue
		}
		found = append(found, breaks(asMap(was[name]), asMap(is[name]), ours, at+"."+name)...)
	}
	return found
}

func breaksOfRequired(was, is []string, ours bool, at string) []string {
	var found []string
	for _, name := range was {
		if ours && !slices.Contains(is, name) {
			found = append(found, fmt.Sprintf("%s need not have %s any more", at, name))
		}
	}
	for _, name := range is {
		if !ours && !slices.Contains(was, name) {
			found = append(found, fmt.Sprintf("%s must have %s now", at, name))
		}
	}
	return found
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func names(v any) []string {
	list, _ := v.([]any)
	out := make([]string, len(list))
	for i, name := range list {
		out[i] = fmt.Sprint(name)
	}
	return out
}

func parsed(t *testing.T, schema []byte) map[string]any {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(schema, &doc))
	return doc
}

func isOurs(typ events.Type) bool { return strings.HasPrefix(string(typ), "preferences.") }

func TestSchemas_KeepWhatOthersRelyOn(t *testing.T) {
	t.Parallel()
	current := map[string]bool{}
	for _, s := range contractFiles(t, "schemas") {
		file := filepath.Join(released, string(s.typ), strconv.Itoa(s.version)+".json")
		current[file] = true
		known, err := os.ReadFile(file)
		if *update && os.IsNotExist(err) {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
			require.NoError(t, os.WriteFile(file, s.content, 0o600))
			known, err = s.content, nil
		}
		require.NoError(t, err, "-update takes in a schema that is new")
		require.Empty(t, breaks(parsed(t, known), parsed(t, s.content), isOurs(s.typ), ""), "%s %d: this needs another type", s.typ, s.version)
		if *update {
			require.NoError(t, os.WriteFile(file, s.content, 0o600))
		}
		if older, ok := events.Schema(s.typ, s.version-1); ok {
			require.Empty(t, breaks(parsed(t, older), parsed(t, s.content), isOurs(s.typ), ""), "%s %d after %d", s.typ, s.version, s.version-1)
		}
	}
	for _, s := range contractFiles(t, released) {
		require.True(t, current[filepath.Join(released, string(s.typ), strconv.Itoa(s.version)+".json")], "%s %d was released and is gone", s.typ, s.version)
	}
}

func TestBreaks_NamesEveryChangeButOneMoreMember(t *testing.T) {
	t.Parallel()
	const before = `{"type":"object","required":["id","data"],"properties":{"id":{"type":"string","maxLength":9},"data":{"$ref":"#/$defs/data"}},
		"$defs":{"data":{"type":"object","properties":{"n":{"type":"integer","minimum":0},"list":{"type":"array","items":{"type":"string"}},"kind":{"enum":["a","b"]}}}}}`
	for name, tc := range map[string]struct{ old, new, ours, theirs string }{
		"described anew":       {`"id":{`, `"id":{"description":"x",`, "", ""},
		"one more member":      {`"id":{`, `"more":{"type":"string"},"id":{`, "", ""},
		"renamed":              {`"id":{`, `"key":{`, "properties.id is gone", "properties.id is gone"},
		"another type":         {`"type":"integer"`, `"type":"number"`, "$defs.data.properties.n.type differs", "$defs.data.properties.n.type differs"},
		"longer":               {`"maxLength":9`, `"maxLength":10`, "properties.id.maxLength differs", "properties.id.maxLength differs"},
		"no bound":             {`,"minimum":0`, ``, "$defs.data.properties.n.minimum differs", "$defs.data.properties.n.minimum differs"},
		"a new bound":          {`"minimum":0`, `"minimum":0,"maximum":9`, "$defs.data.properties.n.maximum differs", "$defs.data.properties.n.maximum differs"},
		"one more value":       {`["a","b"]`, `["a","b","c"]`, "$defs.data.properties.kind.enum differs", "$defs.data.properties.kind.enum differs"},
		"other items":          {`"items":{"type":"string"}`, `"items":{"type":"object"}`, "$defs.data.properties.list.items.type differs", "$defs.data.properties.list.items.type differs"},
		"closed":               {`"type":"object","required"`, `"additionalProperties":false,"type":"object","required"`, "additionalProperties differs", "additionalProperties differs"},
		"required no more":     {`["id","data"]`, `["data"]`, " need not have id any more", ""},
		"required from now on": {`["id","data"]`, `["id","data","more"]`, "", " must have more now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, before, tc.old)
			after := parsed(t, []byte(strings.Replace(before, tc.old, tc.new, 1)))
			require.Equal(t, tc.ours, strings.Join(breaks(parsed(t, []byte(before)), after, true, ""), "; "))
			require.Equal(t, tc.theirs, strings.Join(breaks(parsed(t, []byte(before)), after, false, ""), "; "))
		})
	}
}
