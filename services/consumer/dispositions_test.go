package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
)

func TestDispositions_CoverEveryCode(t *testing.T) {
	t.Parallel()
	require.Len(t, dispositions, len(fault.Codes()))
	for _, code := range fault.Codes() {
		require.Contains(t, dispositions, code)
	}
}

func TestDispositions_NeverBlameARecordForAnOutage(t *testing.T) {
	t.Parallel()
	for _, code := range []fault.Code{fault.Unavailable, fault.Deadline, fault.Aborted} {
		require.Equal(t, retry, failure{cause: fmt.Errorf("x: %w", fault.New(code, "R", "m"))}.disposition(), code)
	}
	require.Equal(t, retry, failure{cause: fmt.Errorf("x: %w", context.DeadlineExceeded)}.disposition())
	require.Equal(t, giveUp, failure{cause: errors.New("who knows")}.disposition())
	require.Equal(t, deadLetter, failure{cause: fault.New(fault.Invalid, "R", "m")}.disposition())
}

func TestTries_CountEachRecordOfEachPartitionAlone(t *testing.T) {
	t.Parallel()
	var all tries
	a := events.Record{Topic: "t", Partition: 0, Offset: 7}
	b := events.Record{Topic: "t", Partition: 1, Offset: 7}
	minute := 0
	failed := func(r events.Record, unexplained bool, wantCount, wantMinute int) {
		t.Helper()
		n, first := all.failed(r, time.Unix(int64(60*minute), 0), unexplained)
		require.Equal(t, wantCount, n)
		require.Equal(t, time.Unix(int64(60*wantMinute), 0), first)
		minute++
	}
	failed(a, false, 0, 0) // an outage is noted and not counted
	failed(a, true, 1, 0)
	failed(a, true, 2, 0)
	failed(b, true, 1, 3)
	a.Offset = 8
	failed(a, true, 1, 4) // the next record begins anew
	all.settled(a)
	all.settled(a)
	failed(a, true, 1, 5)
	failed(b, true, 2, 3)
}

func TestWhy_ShowsOnlyWhatIsSafe(t *testing.T) {
	t.Parallel()
	secret := errors.New("SECRET")
	require.Equal(t, "An unexpected error; the log of the consumer has it.", why(secret))
	f := fault.New(fault.Invalid, "R", "It does not fit.").Because(secret).
		Violating(fault.Violation{Field: "data.accountId", Description: "does not fit: type"}, fault.Violation{Description: "must have x"})
	require.Equal(t, "It does not fit. data.accountId does not fit: type. must have x.", why(fmt.Errorf("SECRET: %w", f)))
}
