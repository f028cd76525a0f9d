package kafkatest

import "testing"

// story is one promise of pkg/kafka, told on a broker.
type story struct {
	name string
	tell func(*testing.T, Broker)
}

// Run tells every story on brokers that start makes, each in parallel with the
// others: what any broker must do, and, where the broker can do that, what
// happens when it crashes or misbehaves. Stories that harm their broker get one
// of their own.
func Run(t *testing.T, start func(testing.TB) Broker) {
	t.Helper()
	common := start(t)
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.tell(t, common)
		})
	}
	if _, ok := common.(Faulty); ok {
		runAlone(t, faultStories(), start)
		runAlone(t, crashStories(), InProcessMortal)
		runAlone(t, outageStories(), InProcessMortal)
	}
	if _, ok := common.(Mortal); ok {
		runAlone(t, crashStories(), start)
	}
	if _, ok := common.(*Apache); ok {
		runAlone(t, clusterStories(), start3)
		runAlone(t, wireStories(), startWired)
	}
}

func runAlone(t *testing.T, stories []story, start func(testing.TB) Broker) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.tell(t, start(t))
		})
	}
}

func start3(tb testing.TB) Broker {
	tb.Helper()
	return startApache(tb, 3)
}

func startWired(tb testing.TB) Broker {
	tb.Helper()
	return StartWired(tb)
}

func stories() []story {
	return []story{
		{"published messages are complete and in order", publishesInOrder},
		{"records arrive as they were sent", keepsRecordsIntact},
		{"an oversized message is refused, others pass", refusesOversized},
		{"a topic that does not exist is an outage until it does", awaitsTopicToPublish},
		{"members share partitions while others come and go", sharesPartitions},
		{"a member continues after the committed offset", continuesAfterCommit},
		{"a record that a member leaves undone is the next one's", leavesUndone},
		{"a missing topic is waited for", awaitsTopicToConsume},
		{"aborted transactions are hidden", hidesAborted},
		{"an offset that retention removed is replaced and counted", survivesRetention},
		{"a topic that is made anew is read from its beginning", readsNewTopic},
		{"a storm of joins and leaves loses nothing", survivesStorm},
		{"a failing handler blocks only its partition", blocksOnePartition},
		{"the gate pauses every partition", waitsAtGate},
		{"a revoked partition finishes its record first", finishesBeforeRevoke},
		{"new partitions are found", findsNewPartitions},
		{"topics are created and never changed", keepsTopics},
		{"a scan ends where the topic ended when it began", scansTopics},
		{"kcat reads what is published and is read", understandsKcat},
		{"a publisher whose identity is not valid any more goes on", lostIdentity},
	}
}
