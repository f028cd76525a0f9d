package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"

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
	require.Equal(t, 1, all.failed(a))
	require.Equal(t, 2, all.failed(a))
	require.Equal(t, 1, all.failed(b))
	a.Offset = 8
	require.Equal(t, 1, all.failed(a), "the next record begins anew")
	all.settled(a)
	all.settled(a)
	require.Equal(t, 1, all.failed(a))
	require.Equal(t, 2, all.failed(b))
}

func TestWhy_ShowsOnlyWhatIsSafe(t *testing.T) {
	t.Parallel()
	secret := errors.New("SECRET")
	require.Equal(t, "An unexpected error; the log of the consumer has it.", why(secret))
	f := fault.New(fault.Invalid, "R", "It does not fit.").Because(secret).
		Violating(fault.Violation{Field: "data.accountId", Description: "does not fit: type"}, fault.Violation{Description: "must have x"})
	require.Equal(t, "It does not fit. data.accountId does not fit: type. must have x.", why(fmt.Errorf("SECRET: %w", f)))
}
