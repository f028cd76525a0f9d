package devpg

import (
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A thread that ends takes along whatever it has forked with a death signal, the
// children of others too: the Go scheduler lends threads to every goroutine.
func TestTheEndOfAServerEndsNoOtherChild(t *testing.T) {
	t.Parallel()
	const others, servers = 16, 64
	var neighbours []*process
	for range others {
		neighbour := exec.Command("sleep", "3600")
		neighbour.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(t, neighbour.Start())
		exited := make(chan struct{})
		go func() {
			_ = neighbour.Wait() // how it ended is read below
			close(exited)
		}()
		p := &process{cmd: neighbour, exited: exited}
		t.Cleanup(func() {
			_ = neighbour.Process.Kill() // it may have ended
			<-exited
		})
		neighbours = append(neighbours, p)
	}
	var ended sync.WaitGroup
	for range servers {
		ended.Go(func() {
			server, err := launch(exec.Command("true"))
			if err == nil {
				<-server.exited
			}
		})
	}
	ended.Wait()
	for _, neighbour := range neighbours {
		require.True(t, neighbour.alive(), "it went with a server that is not its own")
	}
}
