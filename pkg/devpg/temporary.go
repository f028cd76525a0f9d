package devpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	temporaryPrefix = "prefsd-pg-"
	// sweepAfter spares what is young: a container that shares our directory but
	// not our process numbers may be using it.
	sweepAfter = time.Hour
)

// placeTemporary makes a directory that goes with the server. It carries our
// number, so that a later start can tell what a killed program left behind.
func placeTemporary(ctx context.Context, acc *account) (directory, error) {
	var tried []error
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		sweep(base)
		dir, err := os.MkdirTemp(base, temporaryPrefix+strconv.Itoa(os.Getpid())+"-")
		if err != nil {
			tried = append(tried, err)
			continue
		}
		if err := acc.give(dir); err != nil {
			return directory{}, errors.Join(err, os.Remove(dir))
		}
		err = acc.enters(ctx, dir)
		if err == nil {
			data := filepath.Join(dir, "data")
			return directory{path: data, lock: lockOf(data), temporary: true}, nil
		}
		tried = append(tried, err, os.Remove(dir))
	}
	return directory{}, fmt.Errorf("make a temporary data directory: %w", errors.Join(tried...))
}

// discard removes a temporary directory and leaves any other alone.
func (d directory) discard() error {
	if !d.temporary {
		return nil
	}
	return os.RemoveAll(filepath.Dir(d.path))
}

// sweep removes temporary directories whose program and server are both gone.
// What it cannot remove belongs to somebody else.
func sweep(base string) {
	dirs, err := filepath.Glob(filepath.Join(base, temporaryPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		if abandoned(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

func abandoned(dir string) bool {
	number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), temporaryPrefix), "-")
	pid, err := strconv.Atoi(number)
	if err != nil || processExists(pid) {
		return false
	}
	info, err := os.Stat(dir)
	if err != nil || time.Since(info.ModTime()) < sweepAfter {
		return false
	}
	f, err := readPIDFile(filepath.Join(dir, "data"))
	return err != nil || !processExists(f.pid)
}
