package events_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

type asyncDoc struct {
	AsyncAPI string `yaml:"asyncapi"`
	Channels map[string]struct {
		Address  string              `yaml:"address"`
		Messages map[string]asyncRef `yaml:"messages"`
	} `yaml:"channels"`
	Operations map[string]struct {
		Action   string     `yaml:"action"`
		Channel  asyncRef   `yaml:"channel"`
		Messages []asyncRef `yaml:"messages"`
	} `yaml:"operations"`
	Components struct {
		Messages map[string]struct {
			Name    string `yaml:"name"`
			Payload *struct {
				SchemaFormat string   `yaml:"schemaFormat"`
				Schema       asyncRef `yaml:"schema"`
			} `yaml:"payload"`
			Headers struct {
				Properties map[string]any `yaml:"properties"`
			} `yaml:"headers"`
		} `yaml:"messages"`
	} `yaml:"components"`
}

// TestAsyncAPI_IsWhatAsyncAPIAsks holds the document against the JSON Schema of
// AsyncAPI itself (@asyncapi/specs 6.11.1, without what only people read).
func TestAsyncAPI_IsWhatAsyncAPIAsks(t *testing.T) {
	t.Parallel()
	_, tree := asyncAPI(t)
	file, err := os.ReadFile(filepath.Join("testdata", "asyncapi-3.0.0.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("http://asyncapi.com/definitions/3.0.0/asyncapi.json", doc))
	schema, err := c.Compile("http://asyncapi.com/definitions/3.0.0/asyncapi.json")
	require.NoError(t, err)
	require.NoError(t, schema.Validate(tree))

	// It would notice.
	root, ok := tree.(map[string]any)
	require.True(t, ok)
	root["operations"].(map[string]any)["sendPreferencesEvents"].(map[string]any)["action"] = "emit"
	require.Error(t, schema.Validate(tree))
}

type asyncRef struct {
	Ref string `yaml:"$ref"`
}

func asyncAPI(t *testing.T) (asyncDoc, any) {
	t.Helper()
	b, err := os.ReadFile("asyncapi.yaml")
	require.NoError(t, err)
	var doc asyncDoc
	require.NoError(t, yaml.Unmarshal(b, &doc))
	var tree any
	require.NoError(t, yaml.Unmarshal(b, &tree))
	return doc, tree
}

// refs returns every $ref of a document.
func refs(tree any) []string {
	var found []string
	switch n := tree.(type) {
	case map[string]any:
		for name, sub := range n {
			if s, ok := sub.(string); ok && name == "$ref" {
				found = append(found, s)
			}
			found = append(found, refs(sub)...)
		}
	case []any:
		for _, sub := range n {
			found = append(found, refs(sub)...)
		}
	}
	return found
}

func TestAsyncAPI_HasNoDanglingReference(t *testing.T) {
	t.Parallel()
	_, tree := asyncAPI(t)
	all := refs(tree)
	require.NotEmpty(t, all)
	for _, ref := range all {
		if !strings.HasPrefix(ref, "#/") {
			b, err := os.ReadFile(ref)
			require.NoError(t, err)
			require.True(t, json.Valid(b), ref)
			continue
		}
		at := tree
		for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			node, ok := at.(map[string]any)
			require.True(t, ok, ref)
			at, ok = node[name]
			require.True(t, ok, ref)
		}
	}
}

func TestAsyncAPI_DescribesEveryTypeAndTopic(t *testing.T) {
	t.Parallel()
	doc, _ := asyncAPI(t)
	require.Equal(t, "3.0.0", doc.AsyncAPI)

	described := map[string]string{}
	for _, m := range doc.Components.Messages {
		if m.Payload != nil {
			described[m.Name] = m.Payload.Schema.Ref
			require.Equal(t, "application/schema+json;version=draft-2020-12", m.Payload.SchemaFormat)
		}
	}
	schemas := map[string]string{}
	for _, s := range contractFiles(t, "schemas") {
		schemas[string(s.typ)] = "schemas/" + string(s.typ) + "/1.json"
	}
	require.Equal(t, schemas, described)

	var topics []string
	for _, c := range doc.Channels {
		topics = append(topics, c.Address)
	}
	want := append(preferences.DefaultDomains().Topics(), "user.events", "preferences.events", "preferences.cleaned", "preferences.dead-letters")
	require.ElementsMatch(t, want, topics)
}

func TestAsyncAPI_SendsOrReceivesEveryMessageOfItsChannels(t *testing.T) {
	t.Parallel()
	doc, _ := asyncAPI(t)
	received := map[string]bool{}
	for _, op := range doc.Operations {
		require.Contains(t, []string{"send", "receive"}, op.Action)
		channel := doc.Channels[strings.TrimPrefix(op.Channel.Ref, "#/channels/")]
		require.Len(t, op.Messages, len(channel.Messages))
		if op.Action == "receive" {
			received[channel.Address] = true
		}
	}
	require.Equal(t, map[string]bool{"account.events": true, "user.events": true}, received)
}

func TestAsyncAPI_NamesTheHeadersOfDeadLetters(t *testing.T) {
	t.Parallel()
	doc, _ := asyncAPI(t)
	var described, sent []string
	for name := range doc.Components.Messages["deadLetter"].Headers.Properties {
		described = append(described, name)
	}
	huge := events.DeadLetter{Version: "v1", Record: events.Record{Key: []byte("k"), Value: make([]byte, 2<<20)}}
	for _, h := range huge.Message().Raw.Headers {
		sent = append(sent, h.Name)
	}
	require.ElementsMatch(t, sent, described)
}
