package dev

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockDir makes the directory this process's until unlock, or says who has it.
// The lock ends with the process at the latest, however that ends.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the directory is the user's choice
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(inUse(dir, f), f.Close())
	}
	if err == nil {
		err = note(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}

// note leaves the number of this process for the next one to name.
func note(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return err
}

func inUse(dir string, f io.Reader) error {
	const most = 20 // digits
	holder, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil || len(holder) == 0 {
		holder = []byte("unknown")
	}
	return fmt.Errorf("%s is in use by another development environment (process %s): stop that one, or choose another directory with --dir",
		dir, strings.TrimSpace(string(holder)))
}
