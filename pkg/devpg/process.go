package devpg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

const (
	// fastStop is how long a fast shutdown may take before it becomes an
	// immediate one, and that one before the process is killed.
	fastStop = 5 * time.Second
	// pipeGrace bounds the wait for the output of a process that has ended.
	pipeGrace = 2 * time.Second
)

// process is a running postmaster that is our child.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once it has ended and was waited for
}

// launch starts cmd and owns it from here on.
func launch(cmd *exec.Cmd) (*process, error) {
	cmd.WaitDelay = pipeGrace
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that forked ends, so
		// this one has to live as long as the server does. It goes back to the
		// scheduler after that: it may have forked other children before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		release, err := startGuarded(cmd)
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended shows in its log
		release()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop asks for a fast shutdown, then for an immediate one, then kills.
func (p *process) stop() error {
	return p.end(sigFast, sigImmediate, os.Kill)
}

// kill asks for an immediate shutdown, which skips every farewell.
func (p *process) kill() error {
	return p.end(sigImmediate, os.Kill)
}

func (p *process) end(signals ...os.Signal) error {
	for _, signal := range signals {
		if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal postgres: %w", err)
		}
		patience := time.NewTimer(fastStop)
		select {
		case <-p.exited:
			patience.Stop()
			return nil
		case <-patience.C:
		}
	}
	return fmt.Errorf("postgres (process %d) does not end", p.pid())
}
