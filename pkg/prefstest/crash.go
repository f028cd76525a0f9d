package prefstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is the consumer group of a stage.
const Group = "prefsd"

// Crashing starts an api or a consumer that dies where it is told to, which is a
// name of pkg/crashpoint; it may die before it is ready.
func (s *Stage) Crashing(tb testing.TB, name, point string) *Service {
	tb.Helper()
	return s.launch(tb, Binary(tb, name, "crashpoints"), nil, "PREFS_CRASH_AT="+point)
}

// Bury takes from processes that were killed what they still hold: their
// membership in the group, and leases. Otherwise the next one would wait until
// those run out. Nobody who holds anything may be alive.
func (s *Stage) Bury(tb testing.TB) {
	tb.Helper()
	s.Evict(tb, Group)
	s.FreeRelay(tb)
	s.exec(tb, "update operations set lease_until = 'epoch', next_attempt_at = clock_timestamp() where finished_at is null")
}

// FreeRelay lets another process take the lease of the relay, whoever has it.
func (s *Stage) FreeRelay(tb testing.TB) {
	tb.Helper()
	s.exec(tb, "update outbox_relays set expires_at = 'epoch'")
}

// Epoch counts the terms of the relay.
func (s *Stage) Epoch(tb testing.TB) (epoch int64) {
	tb.Helper()
	require.NoError(tb, s.admin.QueryRowContext(tb.Context(), "select max(epoch) from outbox_relays").Scan(&epoch))
	return epoch
}

func (s *Stage) exec(tb testing.TB, statement string) {
	tb.Helper()
	_, err := s.admin.ExecContext(tb.Context(), statement)
	require.NoError(tb, err)
}

// Evict removes the members that a consumer group had, all of which are dead.
func (s *Stage) Evict(tb testing.TB, group string) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.Addrs()...))
	require.NoError(tb, err)
	defer client.Close()
	ask := kmsg.NewPtrDescribeGroupsRequest()
	ask.Groups = []string{group}
	answer, err := ask.RequestWith(tb.Context(), client)
	require.NoError(tb, err)
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, m := range answer.Groups[0].Members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = m.MemberID
		leave.Members = append(leave.Members, member)
	}
	_, err = leave.RequestWith(tb.Context(), client)
	require.NoError(tb, err)
}
