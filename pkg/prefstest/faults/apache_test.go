package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// scene is the pair at work on a real Apache Kafka, with users who save.
type scene struct {
	stage         *prefstest.Stage
	kafka         *kafkatest.Wired
	api, consumer *prefstest.Service
	load          *prefstest.Load
}

// badDays are what Apache Kafka, and the two relays among themselves, do to the
// delivery of events.
var badDays = []struct {
	name    string
	happens func(*scene, *testing.T)
}{
	{"what is produced is applied, and answered with an error or not at all", (*scene).lies},
	{"both relays are made to lead", (*scene).leadTwice},
	{"the relay that leads is frozen for longer than its lease", (*scene).freezeLeader},
	{"the broker is killed and comes back", (*scene).killBroker},
	{"the broker is restarted in peace", (*scene).restartBroker},
}

// TestWhateverApacheKafkaDoesEveryEventArrives lives through the bad days one
// after the other. After each, all is quiet within 30 seconds, every event has
// arrived, in order when it came first, and no save is lost.
func TestWhateverApacheKafkaDoesEveryEventArrives(t *testing.T) {
	t.Parallel()
	const listed = 60
	s := &scene{kafka: kafkatest.StartWired(t)}
	s.stage = prefstest.NewStage(t, s.kafka)
	s.stage.Save(t, []string{"alice"}, accounts(listed)...)
	s.api, s.consumer = s.stage.API(t, nil), s.stage.Consumer(t, nil)
	deleted, saves := 0, 0
	remove := func() {
		for range 4 {
			s.stage.Produce(t, prefstest.Deleted(fmt.Sprint("e", deleted), account(deleted), time.Now()))
			deleted++
		}
	}
	for _, day := range badDays {
		s.load = s.stage.StartLoad(t, s.api.URL, prefstest.LoadOptions{Writers: 2, Users: 8, Accounts: listed})
		s.load.Flow(t, 20)
		remove()
		day.happens(s, t)
		remove()
		s.load.Flow(t, 20)
		n := s.load.Check(t)
		report := s.stage.Settle(t)
		require.False(t, t.Failed(), day.name)
		require.Equal(t, deleted, report.Cleans, day.name)
		saves += n
		t.Logf("%s: %d saves, %d events and %d records so far", day.name, n, report.Events, len(s.stage.Topic(t, prefstest.Updates)))
	}
	require.Equal(t, accounts(listed)[deleted:], s.stage.Entities(t, "alice"))
	require.Zero(t, s.api.Terminate(t))
	require.Zero(t, s.consumer.Terminate(t))
	t.Logf("%d saves, none lost", saves)
}

func (s *scene) lies(t *testing.T) {
	t.Helper()
	lies := []*kerr.Error{kerr.NotEnoughReplicasAfterAppend, nil, kerr.RequestTimedOut, kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, nil, kerr.UnknownProducerID}
	s.kafka.Lie(lies...)
	prefstest.Eventually(t, prefstest.Patience, "every lie is told", func() bool { return s.kafka.Lies() == len(lies) })
}

// leadTwice gives the lease to the other relay again and again. The one before it
// leads on until it wants to save.
func (s *scene) leadTwice(t *testing.T) {
	t.Helper()
	const times = 12
	begin := s.stage.Epoch(t)
	for n := range int64(times) {
		prefstest.Eventually(t, prefstest.Patience, "the other one leads", func() bool {
			s.stage.FreeRelay(t) // its holder takes it again with every save
			return s.stage.Epoch(t) > begin+n
		})
	}
}

// freezeLeader finds that the other relay takes over, and thaws the first one,
// which believes for a moment that it leads.
func (s *scene) freezeLeader(t *testing.T) {
	t.Helper()
	var epoch int64
	var leader *prefstest.Service
	prefstest.Eventually(t, prefstest.Patience, "somebody leads", func() bool {
		epoch = s.stage.Epoch(t)
		for _, one := range []*prefstest.Service{s.api, s.consumer} {
			if leads(one, epoch) {
				leader = one
			}
		}
		return leader != nil
	})
	leader.Freeze(t)
	prefstest.Eventually(t, prefstest.Patience, "the other one leads", func() bool { return s.stage.Epoch(t) > epoch })
	leader.Thaw(t)
}

// leads says whether a process has logged that this term is its own.
func leads(p *prefstest.Service, epoch int64) bool {
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, `"relay leads"`) && strings.Contains(line, fmt.Sprintf(`"epoch":%d}`, epoch)) {
			return true
		}
	}
	return false
}

func (s *scene) killBroker(t *testing.T) {
	t.Helper()
	s.kafka.Kill()
	s.load.Flow(t, 40) // nobody waits for it
	s.kafka.Revive(t)
}

func (s *scene) restartBroker(t *testing.T) {
	t.Helper()
	require.NoError(t, s.kafka.Close())
	s.load.Flow(t, 40)
	s.kafka.Revive(t)
}
