package devpg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// unfinished ends the name of a directory that initdb is still filling.
const unfinished = ".new-"

// major returns the major version that made the data, 0 if there is none yet.
func (d directory) major() int {
	text, err := os.ReadFile(filepath.Join(d.path, "PG_VERSION"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return n
}

// initialise fills the directory unless that was done before. It works beside it
// and renames at the end, so a half-made directory is never taken for a whole one.
func (d directory) initialise(acc *account, fill func(dir string) error) (err error) {
	if d.major() != 0 {
		return d.checkOwner(acc)
	}
	if err := os.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(d.checkOwner(acc), fmt.Errorf("the data directory is neither empty nor made by PostgreSQL: %w", err))
	}
	if err := d.sweepUnfinished(); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(d.path), filepath.Base(d.path)+unfinished)
	if err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := fill(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, d.path); err != nil {
		return fmt.Errorf("put the data directory in place: %w", err)
	}
	return nil
}

// initdb fills a directory with a new cluster. The password comes in a file because others can read the
// arguments of a program; initdb wants its directory empty, so it is put there
// only afterwards.
func initdb(ctx context.Context, dir string, bin binaries, acc *account) (err error) {
	secret := dir + ".password"
	if err := os.WriteFile(secret, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the password: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(secret))
		}
	}()
	if err := errors.Join(acc.give(secret), acc.give(dir)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, "initdb"), "-D", dir, "-U", superuser, "--pwfile", secret, //nolint:gosec // the path is what the caller asked for or what was found
		"-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync")
	// initdb looks at its working directory, and ours may be closed to the account.
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), acc.attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := os.Rename(secret, filepath.Join(dir, passwordFile)); err != nil {
		return fmt.Errorf("keep the password: %w", err)
	}
	return nil
}

// sweepUnfinished removes what an initialise that was killed has left.
func (d directory) sweepUnfinished() error {
	left, err := filepath.Glob(d.path + unfinished + "*")
	if err != nil {
		return fmt.Errorf("look for unfinished data directories: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove an unfinished data directory: %w", err)
		}
	}
	return nil
}

// checkOwner says what is wrong before PostgreSQL refuses with less help.
func (d directory) checkOwner(acc *account) error {
	want := os.Geteuid()
	if acc != nil {
		want = acc.uid
	}
	if uid, ok := owner(d.path); ok && uid != want {
		return fmt.Errorf("the data in %s belongs to user %d: run as that user, or choose another directory", d.path, uid)
	}
	return nil
}
