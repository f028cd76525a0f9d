package outbox_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/outbox"
)

func TestEventGetsTheHeadersOfACloudEvent(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.start(outbox.Config{})
		own := []outbox.Header{{Name: "ce_time", Value: []byte("then")}, {Name: "traceparent", Value: []byte("00-1-2-01")}}
		b.begin().put("alice", func(row *outbox.Row) { row.SchemaVersion, row.Headers = 3, own }).commit()
		b.pass(time.Second)
		got := b.taken[0].Message
		want := outbox.Message{
			ID: 1, EventID: b.rows[0].EventID, Topic: "events", Key: []byte("alice"), Value: []byte("1"),
			Headers: []outbox.Header{
				{Name: "ce_id", Value: []byte(b.rows[0].EventID.String())},
				{Name: "ce_type", Value: []byte("preferences.updated")},
				{Name: "ce_source", Value: []byte("/prefsd/test")},
				{Name: "ce_specversion", Value: []byte("1.0")},
				{Name: "ce_subject", Value: []byte("alice")},
				{Name: "ce_dataschema", Value: []byte("urn:prefsd:schema:preferences.updated:3")},
				{Name: "content-type", Value: []byte("application/json")},
				own[0], own[1],
			},
		}
		require.Empty(b, cmp.Diff(want, got))
		described := describedHeaders(b)
		for _, h := range got.Headers {
			require.Contains(b, described, h.Name, "asyncapi.yaml describes it")
		}
		require.Len(b, described, len(got.Headers))
	})
}

// describedHeaders are those that asyncapi.yaml promises of every event.
func describedHeaders(tb testing.TB) map[string]any {
	tb.Helper()
	var doc struct {
		Components struct {
			MessageTraits struct {
				CloudEvent struct {
					Headers struct {
						Properties map[string]any `yaml:"properties"`
					} `yaml:"headers"`
				} `yaml:"cloudEvent"`
			} `yaml:"messageTraits"`
		} `yaml:"components"`
	}
	require.NoError(tb, yaml.Unmarshal(events.AsyncAPI, &doc))
	return doc.Components.MessageTraits.CloudEvent.Headers.Properties
}

func TestDeadLetterGoesOutAsItCameIn(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.start(outbox.Config{})
		headers := []outbox.Header{{Name: "x", Value: []byte{0xff}}, {Name: "x", Value: nil}}
		b.begin().put("sha256:00", func(row *outbox.Row) {
			row.SchemaVersion, row.Headers, row.Key, row.Value = 0, headers, []byte{0, 1}, nil
		}).commit()
		b.pass(time.Second)
		got := b.taken[0].Message
		require.Equal(b, headers, got.Headers)
		require.Equal(b, []byte{0, 1}, got.Key)
		require.Nil(b, got.Value)
	})
}
