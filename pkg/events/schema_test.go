package events_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
)

var update = flag.Bool("update", false, "rewrite the golden events")

var at = time.Date(2024, 10, 7, 17, 0, 0, 123456000, time.UTC)

// emitted is one example of every event that the service publishes.
var emitted = []struct {
	typ  events.Type
	data any
}{
	{events.PreferencesUpdated, events.Updated{
		UserID: "user-123", Domain: "accounts", ListID: 41, Version: 7, PreviousVersion: 6, Action: "replace",
		ChangedFields: []string{"attributes.favorite", "order"}, Created: []string{"acc-005"}, Updated: []string{"acc-001", "acc-003"},
		Deleted: []string{}, Total: 3, ETag: "Zm9vYmFyYmF6cXV4",
	}},
	{events.PreferencesCleaned, events.Cleaned{
		EntityID: "acc-003", EntityType: "account", AffectedUsers: []string{"user-123", "user-456"},
		Lists: []events.TouchedList{
			{UserID: "user-123", Domain: "accounts", ListID: 41, Version: 8},
			{UserID: "user-456", Domain: "accounts", ListID: 52, Version: 2},
		},
		Part: 1, Final: true, Complete: true, TotalDeleted: 2, Cause: "event:evt-12345",
	}},
	{events.PreferencesErased, events.Erased{UserID: "user-123", Lists: []events.ErasedList{{Domain: "accounts", ListID: 41}}}},
}

func TestEncode_WritesTheGoldenEvents(t *testing.T) {
	t.Parallel()
	for _, e := range emitted {
		t.Run(string(e.typ), func(t *testing.T) {
			t.Parallel()
			id := uuid.MustParse("0192679c-5a00-7000-8000-0123456789ab")
			value, err := events.Encode(e.typ, id, at, events.Source("main"), e.data)
			require.NoError(t, err)
			var got bytes.Buffer
			require.NoError(t, json.Indent(&got, value, "", "  "))
			got.WriteByte('\n')
			file := filepath.Join("testdata", string(e.typ), strconv.Itoa(events.SchemaVersion)+".json")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
			require.NoError(t, events.Validate(e.typ, events.SchemaVersion, value))
		})
	}
}

type contractFile struct {
	typ     events.Type
	version int
	content []byte
}

// contractFiles are the files <type>/<version>.json below dir.
func contractFiles(t *testing.T, dir string) []contractFile {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.*", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var out []contractFile
	for _, name := range names {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		version, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".json"))
		require.NoError(t, err)
		out = append(out, contractFile{events.Type(filepath.Base(filepath.Dir(name))), version, content})
	}
	return out
}

func TestSchemas_AcceptTheGoldensOfTheirVersionAndOlderOnes(t *testing.T) {
	t.Parallel()
	goldens := contractFiles(t, "testdata")
	for _, schema := range contractFiles(t, "schemas") {
		checked := 0
		for _, golden := range goldens {
			if golden.typ == schema.typ && golden.version <= schema.version {
				require.NoError(t, events.Validate(schema.typ, schema.version, golden.content), "%s %d", schema.typ, schema.version)
				checked++
			}
		}
		require.Equal(t, schema.version, checked, "goldens of %s up to version %d", schema.typ, schema.version)
	}
}

// closed returns the schema with every object shut to members that it does not
// name.
func closed(schema any) any {
	switch s := schema.(type) {
	case map[string]any:
		for name, sub := range s {
			s[name] = closed(sub)
		}
		if _, ok := s["properties"]; ok {
			s["additionalProperties"] = false
		}
	case []any:
		for i, sub := range s {
			s[i] = closed(sub)
		}
	}
	return schema
}

func TestSchemas_NameEveryMemberThatIsPublished(t *testing.T) {
	t.Parallel()
	for _, golden := range contractFiles(t, "testdata") {
		text, ok := events.Schema(golden.typ, golden.version)
		require.True(t, ok)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		c := jsonschema.NewCompiler()
		require.NoError(t, c.AddResource("urn:closed", closed(doc)))
		schema, err := c.Compile("urn:closed")
		require.NoError(t, err)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(golden.content))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(value), "%s %d", golden.typ, golden.version)
	}
}

func TestSchemas_CarryTheirName(t *testing.T) {
	t.Parallel()
	for _, s := range contractFiles(t, "schemas") {
		var head struct {
			Schema string `json:"$schema"`
			ID     string `json:"$id"`
			Title  string `json:"title"`
		}
		require.NoError(t, json.Unmarshal(s.content, &head))
		require.Equal(t, "https://json-schema.org/draft/2020-12/schema", head.Schema)
		require.Equal(t, events.SchemaURI(s.typ, s.version), head.ID)
		require.Equal(t, string(s.typ), head.Title)
		served, ok := events.Schema(s.typ, s.version)
		require.True(t, ok)
		require.Equal(t, s.content, served)
	}
	for _, none := range []contractFile{{typ: "no.such", version: 1}, {typ: events.PreferencesUpdated, version: 99}, {typ: "../schemas", version: 1}} {
		require.False(t, events.HasSchema(none.typ, none.version))
	}
}

func golden(t *testing.T, typ string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", typ, "1.json"))
	require.NoError(t, err)
	return string(b)
}

func TestValidate_NamesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ typ, old, new, field, why string }{
		"another type":       {"account.deleted", `"account.deleted"`, `"account.gone-SECRET"`, "eventType", "does not fit: const"},
		"time not a time":    {"account.deleted", `2024-10-07T17:00:00Z`, `SECRET`, "timestamp", "does not fit: format"},
		"no id":              {"account.deleted", `"accountId"`, `"SECRET"`, "data", "must have accountId"},
		"id a number":        {"account.deleted", `"acc-003"`, `42`, "data.accountId", "does not fit: type"},
		"id with a space":    {"account.deleted", `"acc-003"`, `"SECRET id"`, "data.accountId", "does not fit: pattern"},
		"created, no id":     {"account.created", `"accountId"`, `"SECRET"`, "data", "must have accountId"},
		"restored, no id":    {"account.restored", `"accountId"`, `"SECRET"`, "data", "must have accountId"},
		"part zero":          {"preferences.cleaned", `"part": 1`, `"part": 0`, "data.part", "does not fit: minimum"},
		"no cause":           {"preferences.cleaned", `event:evt-12345`, `SECRET`, "data.cause", "does not fit: pattern"},
		"list without id":    {"preferences.cleaned", `"listId": 41`, `"SECRET": 41`, "data.lists.0", "must have listId"},
		"user twice":         {"preferences.cleaned", `"user-456"`, `"user-123"`, "data.affectedUsers", "does not fit: uniqueItems"},
		"id not a UUID":      {"preferences.updated", `0192679c-5a00-7000-8000-0123456789ab`, `SECRET`, "eventId", "does not fit: format"},
		"unknown field name": {"preferences.updated", `"order"`, `"SECRET"`, "data.changedFields.1", "does not fit: pattern"},
		"short tag":          {"preferences.updated", `Zm9vYmFyYmF6cXV4`, `SECRET`, "data.etag", "does not fit: pattern"},
		"negative version":   {"preferences.updated", `"previousVersion": 6`, `"previousVersion": -1`, "data.previousVersion", "does not fit: minimum"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := strings.Replace(golden(t, tc.typ), tc.old, tc.new, 1)
			err := events.Validate(events.Type(tc.typ), 1, []byte(value))
			var f *fault.Error
			require.ErrorAs(t, err, &f)
			require.Equal(t, fault.Invalid, f.Code)
			require.Equal(t, events.ReasonInvalidEvent, f.Reason)
			require.Contains(t, f.Violations, fault.Violation{Field: tc.field, Description: tc.why})
			require.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func TestValidate_RefusesWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "{", `{"a":SECRET}`, "{} {}", "\x00", `["SECRET"`} {
		err := events.Validate("account.deleted", 1, []byte(value))
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%q", value)
		require.NotContains(t, err.Error(), "SECRET")
	}
	require.Equal(t, fault.Internal, fault.CodeOf(events.Validate("no.such", 1, []byte("{}"))), "a type without a schema is our mistake")
}

func TestValidateData_LooksAtTheDataAlone(t *testing.T) {
	t.Parallel()
	require.NoError(t, events.ValidateData("account.deleted", 1, json.RawMessage(`{"accountId":"acc-1","more":[1]}`)))
	for _, data := range []string{"", "null", "[]", `"acc-1"`, `{}`, `{"accountId":null}`} {
		require.Equal(t, fault.Invalid, fault.CodeOf(events.ValidateData("account.deleted", 1, json.RawMessage(data))), "%q", data)
	}
}

func TestValidate_SaysAtMostTenThings(t *testing.T) {
	t.Parallel()
	value := strings.Replace(golden(t, "preferences.updated"), `"acc-001",`, strings.Repeat(`"",`, 100)+`"acc-001",`, 1)
	err := events.Validate(events.PreferencesUpdated, 1, []byte(value))
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Len(t, f.Violations, 10)
}
