package devpg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// movedNote is the file that a data directory holds when its data had to be put
// elsewhere. As long as it is there, that other place belongs to it.
const movedNote = "MOVED.txt"

// directory is where the data of a server is.
type directory struct {
	path      string
	temporary bool // path and what is around it go with the server
}

// place decides where the data goes: a temporary directory, the one asked for,
// or, when the account cannot enter that one, another that it can.
func place(ctx context.Context, requested string, acc *account) (directory, error) {
	if requested == "" {
		return placeTemporary(ctx, acc)
	}
	requested, err := filepath.Abs(requested)
	if err != nil {
		return directory{}, fmt.Errorf("find the data directory: %w", err)
	}
	parent := filepath.Dir(requested)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // the account has to pass through it
		return directory{}, fmt.Errorf("make the parent of the data directory: %w", err)
	}
	if exists(filepath.Join(requested, movedNote)) || !acc.enters(ctx, parent) {
		return placeElsewhere(ctx, requested, acc)
	}
	return directory{path: requested}, nil
}

// placeElsewhere gives a directory that the account cannot enter a substitute,
// named after it. Whoever deletes the directory deletes the note in it, and so
// disowns the data: a substitute without its note is begun afresh.
func placeElsewhere(ctx context.Context, requested string, acc *account) (directory, error) {
	sum := sha256.Sum256([]byte(requested))
	var tried []error
	for _, base := range []string{"/var/lib/prefsd-dev", filepath.Join(os.TempDir(), "prefsd-dev"), "/tmp/prefsd-dev"} {
		if err := sharedDir(ctx, base, acc); err != nil {
			tried = append(tried, err)
			continue
		}
		d := directory{path: filepath.Join(base, hex.EncodeToString(sum[:8]))}
		return d, d.own(ctx, requested, acc)
	}
	return directory{}, fmt.Errorf("user %s, whom PostgreSQL runs as, cannot enter the parents of %s, and no other place would do: %w", acc.name, requested, errors.Join(tried...))
}

func (d directory) own(ctx context.Context, requested string, acc *account) error {
	note := filepath.Join(requested, movedNote)
	if exists(note) {
		return nil
	}
	if port, err := adoptable(ctx, d.path); err != nil || port != 0 {
		return errors.Join(err, fmt.Errorf("%s is in use by a server on port %d", d.path, port))
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("remove the data that %s has given up: %w", requested, err)
	}
	if err := os.MkdirAll(requested, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	text := fmt.Sprintf("PostgreSQL runs as user %s, who cannot enter this directory. Its data is in\n%s\nDelete this directory to begin afresh.\n", acc.name, d.path)
	if err := os.WriteFile(note, []byte(text), 0o600); err != nil {
		return fmt.Errorf("note where the data is: %w", err)
	}
	return nil
}

// sharedDir makes a directory that everybody can enter and only we can change.
func sharedDir(ctx context.Context, path string, acc *account) error {
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // the account has to pass through it
		return fmt.Errorf("make %s: %w", path, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	const othersWrite = 0o022
	if uid, ok := owner(path); !ok || uid != os.Geteuid() || !info.IsDir() || info.Mode().Perm()&othersWrite != 0 {
		return fmt.Errorf("%s is not a directory that only we can write", path)
	}
	if !acc.enters(ctx, path) {
		return fmt.Errorf("%s cannot be entered by user %s", path, acc.name)
	}
	return nil
}

// enters reports whether the account can pass through a directory. It asks the
// system, which knows about every parent, access lists and mounts.
func (a *account) enters(ctx context.Context, dir string) bool {
	if a == nil {
		return true
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd -- "$0"`, dir) //nolint:gosec // the directory is an argument, not part of the script
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), a.attr()
	return cmd.Run() == nil
}

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
func (d directory) initialise(ctx context.Context, bin binaries, acc *account) (err error) {
	if d.major() != 0 {
		return d.checkOwner(acc)
	}
	if err := os.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the data directory is neither empty nor made by PostgreSQL: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(d.path), filepath.Base(d.path)+".new-")
	if err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := acc.give(fresh); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, "initdb"), //nolint:gosec // the path is what the caller asked for or what was found
		"-D", fresh, "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	// initdb looks at its working directory, and ours may be closed to the account.
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), acc.attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := os.Rename(fresh, d.path); err != nil {
		return fmt.Errorf("put the data directory in place: %w", err)
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

// environment is what the server's programs see: nothing of ours, least of all
// PG* variables that would send them elsewhere.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
