package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// compare measures an operation, the same SQL alone, and HTTP alone, one right
// after the other. From then on the ceiling is asked for answers of that size.
func (m *machine) compare(ctx context.Context, api, ceiling *process, op operation, f flags) (row, error) {
	service, err := m.load(ctx, api, op, f)
	if err != nil {
		return row{}, err
	}
	floor, err := m.floor(ctx, op, f)
	if err != nil {
		return row{}, err
	}
	ceiling.answer = max(service.Bytes, 1)
	web, err := m.load(ctx, ceiling, op, f)
	web.CPU = web.ServiceCPU // PostgreSQL has no part in it
	return row{Operation: op.name, Service: service, Floor: floor, HTTP: web}, err
}

// floor runs pgbench with the operation's script on the same server.
func (m *machine) floor(ctx context.Context, op operation, f flags) (figures, error) {
	dir, err := os.MkdirTemp(m.dir, "pgbench-")
	if err != nil {
		return figures{}, err
	}
	script := filepath.Join(dir, "script.sql")
	if err := os.WriteFile(script, []byte(op.floor), 0o600); err != nil {
		return figures{}, err
	}
	tool, err := m.pgbench()
	if err != nil {
		return figures{}, err
	}
	before, err := tree(m.postgresPID)
	if err != nil {
		return figures{}, err
	}
	begin := time.Now()
	//nolint:gosec // the tool is pgbench, found on the PATH
	cmd := exec.CommandContext(ctx, tool, "-n", "-M", "prepared", "-c", strconv.Itoa(f.Clients), "-j", "2", "-T", strconv.Itoa(int(f.Time.Seconds())),
		"-D", "lists="+strconv.Itoa(f.Lists), "-D", "items="+strconv.Itoa(f.Items), "-f", script, "-l", "--log-prefix", filepath.Join(dir, "log"), m.server.URL())
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c plan_cache_mode=force_generic_plan -c jit=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return figures{}, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	elapsed := time.Since(begin)
	after, err := tree(m.postgresPID)
	if err != nil {
		return figures{}, err
	}
	took, err := readLatencies(dir)
	if err != nil || len(took) == 0 {
		return figures{}, errors.Join(errors.New("pgbench logged nothing"), err)
	}
	fig := summarize(took, elapsed, 0, after-before)
	if found := tps.FindSubmatch(out); found != nil { // without its own start
		fig.PerSecond, err = strconv.ParseFloat(string(found[1]), 64)
	}
	return fig, err
}

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

func (m *machine) pgbench() (string, error) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path, nil
	}
	path := filepath.Join(m.server.BinDir(), "pgbench")
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("pgbench is missing: install PostgreSQL's client programs")
	}
	return path, nil
}

// readLatencies reads the third column of pgbench's logs: microseconds.
func readLatencies(dir string) ([]time.Duration, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for _, log := range logs {
		b, err := os.ReadFile(log) //nolint:gosec // pgbench wrote it into our own directory
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			const latency = 2
			if len(fields) <= latency {
				continue
			}
			micros, err := strconv.ParseInt(fields[latency], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(log), err)
			}
			took = append(took, time.Duration(micros)*time.Microsecond)
		}
	}
	return took, nil
}
