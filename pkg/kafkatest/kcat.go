package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafka"
)

// understandsKcat talks to a third implementation, the one that most people
// have at hand.
func understandsKcat(t *testing.T, b Broker) {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("kcat is not on the PATH")
		}
		t.Skip("kcat is not on the PATH")
	}
	topic := Topic(t, b, 3)
	c := Client(t, b, topic)
	run := func(input string, args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append([]string{"-b", strings.Join(b.Addrs(), ","), "-q"}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		return string(out)
	}

	var lines strings.Builder
	for _, m := range messages(topic, 5, 50, 0) {
		fmt.Fprintf(&lines, "%s=%s\n", m.Key, m.Value)
	}
	run(lines.String(), "-P", "-t", topic, "-K", "=", "-z", "zstd",
		"-X", "topic.partitioner=murmur2_random", "-X", "enable.idempotence=true")
	require.Equal(t, expected(t, messages(topic, 5, 50, 0), 3), values(dump(t, b, topic)))
	l := newLedger()
	m := join(t, kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}, l.handle)
	l.awaitAll(t, 5, 50)
	m.stop()
	require.Zero(t, l.check(t, 5, 50))

	more := messages(topic, 5, 50, 50)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), more)
	out := run("", "-C", "-t", topic, "-e", "-o", "beginning", "-f", "%p %k %s\n")
	got := map[int32][]string{}
	for line := range strings.Lines(out) {
		var p int32
		var key, value string
		_, err := fmt.Sscanf(line, "%d %s %s", &p, &key, &value)
		require.NoError(t, err)
		got[p] = append(got[p], value)
	}
	require.Equal(t, expected(t, append(messages(topic, 5, 50, 0), more...), 3), got, "both clients place keys alike")
	require.Contains(t, run("", "-L", "-t", topic), topic)
}
