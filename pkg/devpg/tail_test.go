package devpg

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestTheTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	log := &tail{also: &all}
	for range 3 {
		n, err := log.Write([]byte(strings.Repeat("a", tailSize/2) + "\n"))
		require.NoError(t, err)
		require.Equal(t, tailSize/2+1, n)
	}
	_, err := log.Write([]byte("the end"))
	require.NoError(t, err)
	require.Len(t, log.String(), tailSize)
	require.True(t, strings.HasSuffix(log.String(), "a\nthe end"))
	require.Len(t, all.String(), 3*(tailSize/2+1)+len("the end"))
	log.reset()
	require.Empty(t, log.String())
}

func TestALogThatCannotBeWrittenDoesNotDisturbTheServer(t *testing.T) {
	t.Parallel()
	log := &tail{also: full{}}
	n, err := log.Write([]byte("line"))
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Equal(t, "line", log.String())
}
