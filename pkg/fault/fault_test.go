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
