package fault_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
)

func TestAFaultIsFoundThroughWrapping(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	err := fmt.Errorf("list preferences: %w", fault.New(fault.Unavailable, fault.ReasonUnavailable, "try again").Because(cause))

	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.Equal(t, fault.ReasonUnavailable, fault.ReasonOf(err))
	require.ErrorIs(t, err, cause)
}

func TestAnyOtherErrorIsInternal(t *testing.T) {
	t.Parallel()
	require.Equal(t, fault.Internal, fault.CodeOf(errors.New("boom")))
	require.Equal(t, fault.ReasonInternal, fault.ReasonOf(errors.New("boom")))
}

func TestCopiesDoNotShareDetails(t *testing.T) {
	t.Parallel()
	base := fault.New(fault.Invalid, fault.ReasonInvalidField, "wrong").With("a", 1)
	one := base.With("b", 2).Violating(fault.Violation{Field: "x", Description: "is wrong"})
	two := base.With("b", 3)

	require.Equal(t, map[string]any{"a": 1}, base.Details)
	require.Equal(t, map[string]any{"a": 1, "b": 2}, one.Details)
	require.Equal(t, map[string]any{"a": 1, "b": 3}, two.Details)
	require.Empty(t, two.Violations)
	require.Contains(t, one.Error(), "x: is wrong")
}

func TestCodesAreDistinct(t *testing.T) {
	t.Parallel()
	codes := fault.Codes()
	slices.Sort(codes)
	require.Equal(t, codes, slices.Compact(slices.Clone(codes)))
}

func TestJoinSaysEverythingOnce(t *testing.T) {
	t.Parallel()
	violating := func(reason fault.Reason, fields ...string) *fault.Error {
		f := fault.New(fault.Invalid, reason, "No.")
		for _, field := range fields {
			f = f.Violating(fault.Violation{Field: field, Description: "by " + string(reason)})
		}
		return f
	}
	other := errors.New("another thing")
	gone := fault.New(fault.Unprocessable, "UNKNOWN", "No.")
	require.NoError(t, fault.Join())
	require.NoError(t, fault.Join(nil, nil))
	require.Equal(t, other, fault.Join(nil, other, gone))
	require.Equal(t, violating("A", "a"), fault.Join(gone, nil, violating("A", "a"), other))

	joined := fault.Join(violating("A", "list[1].order", "list[2]", "x"), nil, violating("B", "list[1].order", "list[2].id", "list[20]", "list", "xy", "x.y", "z"))
	f, ok := errors.AsType[*fault.Error](joined)
	require.True(t, ok)
	require.Equal(t, fault.Reason("A"), f.Reason)
	var fields []string
	for _, v := range f.Violations {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{"list[1].order", "list[2]", "x", "list[20]", "xy", "z"}, fields)
	require.Equal(t, violating("A", "$"), fault.Join(violating("A", "$"), violating("B", "a")), "nothing could be read")
}
