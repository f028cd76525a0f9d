package kafkatest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafka"
)

func TestMain(m *testing.M) { Main(m) }

// fails reports whether the ledger finds fault with what it saw.
func fails(t *testing.T, l *ledger, keys, count int) bool {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.check(r, keys, count)
	}()
	<-done
	return r.failed
}

// recorder fails without failing the test that it belongs to.
type recorder struct {
	testing.TB

	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }

func (r *recorder) FailNow() {
	r.failed = true
	runtime.Goexit()
}

func delivery(key string, n int) kafka.Record {
	return kafka.Record{Topic: "t", Key: []byte(key), Value: fmt.Appendf(nil, "%s:%d", key, n), Offset: int64(n)}
}

func TestTheLedgerNotices(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		deliveries []kafka.Record
		fails      bool
	}{
		"nothing wrong":            {[]kafka.Record{delivery("key-0", 0), delivery("key-1", 0), delivery("key-0", 1)}, false},
		"repetitions":              {[]kafka.Record{delivery("key-0", 0), delivery("key-0", 1), delivery("key-1", 0), delivery("key-0", 0), delivery("key-0", 1)}, false},
		"a loss":                   {[]kafka.Record{delivery("key-0", 0), delivery("key-0", 1)}, true},
		"a loss in the middle":     {[]kafka.Record{delivery("key-0", 1), delivery("key-1", 0)}, true},
		"an inversion":             {[]kafka.Record{delivery("key-0", 1), delivery("key-0", 0), delivery("key-1", 0)}, true},
		"a record that is foreign": {[]kafka.Record{delivery("key-0", 0), delivery("key-1", 0), delivery("key-0", 1), {Key: []byte("x"), Value: []byte("y:1")}}, true},
	} {
		l := newLedger()
		for _, r := range tt.deliveries {
			require.NoError(t, l.handle(t.Context(), r))
		}
		require.Equal(t, tt.fails, fails(t, l, 2, 3), name)
	}

	l := newLedger()
	l.enter(delivery("key-0", 0))
	l.enter(delivery("key-0", 1))
	require.Len(t, l.problems, 1, "two members on one partition")
}

func TestOneBrokerIsShared(t *testing.T) {
	t.Parallel()
	b := Shared(t)
	require.Equal(t, b.Addrs(), Shared(t).Addrs())
	topic := Topic(t, b, 2)
	msgs := messages(topic, 4, 20, 0)
	publishAll(t, kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{}), msgs)
	require.Equal(t, expected(t, msgs, 2), values(dump(t, b, topic)))
}

func TestAMissingApacheKafkaIsExplained(t *testing.T) {
	t.Setenv("KAFKA_LIBS", t.TempDir())
	_, err := findLibs(t.Context())
	require.ErrorContains(t, err, "run make kafka-libs")

	require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("KAFKA_LIBS"), ".done"), nil, 0o600))
	for version, want := range map[string]string{
		`openjdk version "11.0.2" 2019-01-15`: "version 11 of Java is older than 17",
		`no version at all`:                   "unknown Java",
	} {
		bin := t.TempDir()
		script := fmt.Sprintf("#!/bin/sh\necho '%s' >&2\n", version)
		require.NoError(t, os.WriteFile(filepath.Join(bin, "java"), []byte(script), 0o700))
		t.Setenv("PATH", bin)
		_, err = findLibs(t.Context())
		require.ErrorContains(t, err, want)
	}
	t.Setenv("PATH", t.TempDir())
	_, err = findLibs(t.Context())
	require.ErrorContains(t, err, "no Java")
}
