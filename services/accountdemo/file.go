package accountdemo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// state is all that the demo knows: the accounts by number, and the events that
// the broker has not acknowledged, oldest first. A change and its event are
// written in one step, so neither is ever without the other.
type state struct {
	Accounts []account `json:"accounts"`
	Pending  []event   `json:"pending"`
}

// load reads the file; one that is not there yet is an empty state.
func load(path string) (state, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the path is the operator's choice
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("read the accounts: %w", err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("read the accounts: %s is damaged, remove it to begin anew: %w", path, err)
	}
	return s, nil
}

// save replaces the file at once and for good: a crash leaves the old one or the
// new one.
func save(path string, s state) (err error) {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("encode the accounts: %w", err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".accounts-*")
	if err != nil {
		return fmt.Errorf("write the accounts: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write the accounts: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in the directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the directory of the operator's file
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}
