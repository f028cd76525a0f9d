package devpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	statusReady = "ready"
	// transient is how long a server may take to finish starting or stopping
	// before its directory counts as stuck.
	transient = 20 * time.Second
	dialLimit = 3 * time.Second
)

// pidFile is what a server says about itself in postmaster.pid.
type pidFile struct {
	pid    int
	port   int
	status string // starting, ready, standby, stopping
}

func readPIDFile(dataDir string) (pidFile, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid")) //nolint:gosec // the directory is the caller's
	if err != nil {
		return pidFile{}, fmt.Errorf("read the server's pid file: %w", err)
	}
	return parsePIDFile(string(text)), nil
}

// parsePIDFile reads lines 1, 4 and 8. The server writes the file bit by bit, so
// any of them can still be missing.
func parsePIDFile(text string) pidFile {
	const pidLine, portLine, statusLine = 0, 3, 7
	lines := strings.Split(text, "\n")
	line := func(i int) string {
		if i >= len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[i])
	}
	number := func(i int) int {
		n, err := strconv.Atoi(line(i))
		if err != nil {
			return 0
		}
		return n
	}
	return pidFile{pid: number(pidLine), port: number(portLine), status: line(statusLine)}
}

// adoptable returns the port of the server that already runs on the directory, 0
// if none does. It waits for one that is just starting or stopping, and removes
// a file that was left by a crash and would now keep a new server from starting.
func (d directory) adoptable(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, transient)
	defer cancel()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		f, err := readPIDFile(d.path)
		if err != nil || !processExists(f.pid) {
			return 0, nil
		}
		if f.status == statusReady && d.servedOn(ctx, f.port) {
			return f.port, nil
		}
		if !runsPostgres(ctx, f.pid) {
			return 0, removeStale(d.path)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("a server (process %d) holds %s and is %q: %w", f.pid, d.path, f.status, ctx.Err())
		}
	}
}

func removeStale(dataDir string) error {
	if err := os.Remove(filepath.Join(dataDir, "postmaster.pid")); err != nil {
		return fmt.Errorf("remove the pid file of a crashed server: %w", err)
	}
	return nil
}

// runsPostgres reports whether a process can be a server. Numbers are used
// again, in containers within seconds, and a dead process keeps its number until
// somebody has waited for it. Where the system does not tell, it says yes.
func runsPostgres(ctx context.Context, pid int) bool {
	state, command := processState(ctx, pid)
	return state == "" || !strings.HasPrefix(state, "Z") && filepath.Base(command) == "postgres"
}

// processState returns the state and the command of a process, from where the
// system shows them.
func processState(ctx context.Context, pid int) (state, command string) {
	if text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat")); err == nil {
		return parseStat(string(text))
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", "stat=", "-o", "comm=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec // a number
	if err != nil {
		return "", ""
	}
	state, command, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	return state, strings.TrimSpace(command)
}

// parseStat reads "pid (command) state ...", where a command may hold anything.
func parseStat(text string) (state, command string) {
	begin, end := strings.Index(text, "("), strings.LastIndex(text, ") ")
	if begin < 0 || end < begin {
		return "", ""
	}
	state, _, _ = strings.Cut(text[end+2:], " ")
	return state, text[begin+1 : end]
}

// servedOn reports whether the server on the port is the one of this directory.
func (d directory) servedOn(ctx context.Context, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, connString(port, d.password(), defaultDatabase))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var path string
	if err := conn.QueryRow(ctx, `show data_directory`).Scan(&path); err != nil {
		return false
	}
	return sameFile(path, d.path)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
