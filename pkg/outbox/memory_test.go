package outbox_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

// witness runs a relay on a table, and returns how often it has missed commits.
func witness(b *bench, metrics *telemetry.Telemetry, cfg outbox.Config) (missed func() string) {
	b.Helper()
	cfg.Meter = metrics.Meter()
	b.start(cfg)
	return func() string { return scrape(b.T, metrics)["prefs_relay_commits_lost_total"] }
}

func meter(t *testing.T) *telemetry.Telemetry {
	t.Helper()
	metrics, err := telemetry.New(t.Context(), "test", "0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, metrics.Shutdown(t.Context())) })
	return metrics
}

func TestCommitsThatAFailoverLostAreMissedOnce(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]outbox.Config{
		"the position was stored":     {},
		"the position was not stored": {SaveEvery: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metrics := meter(t)
			story(t, func(b *bench) {
				missed := witness(b, metrics, config)
				b.put("u")
				b.pass(10 * time.Second)
				var before table // what the standby has received
				b.with(func() {
					before.commits, before.ids, before.cursor, before.epoch = b.commits, b.ids, b.cursor, b.epoch
					before.rows = append(before.rows, b.rows...)
				})
				b.put("u", "v")
				b.pass(time.Second)
				require.Len(b, b.all(), 3)
				require.Equal(b, "0", missed())
				b.with(func() { b.away = true })
				b.pass(time.Second)
				b.with(func() {
					b.commits, b.ids, b.cursor, b.epoch, b.rows = before.commits, before.ids, before.cursor, before.epoch, before.rows
					b.away, b.expires = false, time.Time{}
				})
				b.put("w")
				b.pass(20 * time.Second)
				require.Equal(b, []int64{2}, b.of("w"), "the relay goes on from what is there")
				require.Equal(b, "1", missed())
				b.cut()
				b.pass(time.Minute)
				require.Equal(b, "1", missed(), "once is enough")
			})
		})
	}
}

func TestNothingIsMissedThatIsThere(t *testing.T) {
	t.Parallel()
	metrics := meter(t)
	story(t, func(b *bench) {
		const trouble = 12
		missed := witness(b, metrics, outbox.Config{SaveEvery: time.Second, Retention: time.Minute})
		b.start(outbox.Config{SaveEvery: time.Second, Retention: time.Minute})
		for n := range trouble {
			b.put("u", "v")
			b.pass(100 * time.Millisecond)
			switch n % 4 {
			case 0:
				b.cut()
			case 1:
				b.with(func() { b.away = true })
				b.pass(10 * time.Minute)
				b.with(func() { b.away, b.rows = false, nil }) // pruned, by another relay
			case 2:
				b.with(func() { b.epoch, b.expires = b.epoch+1, time.Time{} })
			default:
				b.answers(refuses("u", true))
				b.pass(5 * time.Second)
				b.cut()
				b.answers(nil)
			}
			b.pass(10 * time.Second)
		}
		require.Equal(b, "0", missed())
		require.Greater(b, b.recalls, trouble/2)
	})
}
