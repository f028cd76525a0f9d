package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks is what Linux counts CPU in, USER_HZ: 100 a second on every platform
// that Go supports.
const ticks = 100

// usage is the CPU that a process has used, with that of the children it has
// waited for.
func usage(pid int) (own, waited time.Duration, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0, err
	}
	// The name, in parentheses, may hold anything; fields are counted behind it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const utime, stime, cutime, cstime = 11, 12, 13, 14
	if len(fields) <= cstime {
		return 0, 0, fmt.Errorf("/proc/%d/stat is short", pid)
	}
	at := func(i int) time.Duration {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return time.Duration(n) * time.Second / ticks
	}
	return at(utime) + at(stime), at(cutime) + at(cstime), nil
}

// tree is the CPU that a process and its children, alive or waited for, have
// used.
func tree(pid int) (time.Duration, error) {
	own, waited, err := usage(pid)
	if err != nil {
		return 0, err
	}
	total := own + waited
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, child := range strings.Fields(string(children)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		if own, _, err := usage(id); err == nil { // it may have ended meanwhile
			total += own
		}
	}
	return total, nil
}

// describe names the machine and how busy it is.
func describe() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(load), " ")
	model := "CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, found := strings.Cut(string(info), "model name\t: "); found {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	return fmt.Sprintf("%s, load average %s at the end", model, first)
}
