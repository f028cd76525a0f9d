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
)

// movedNote is the file that a data directory holds when its data had to be put
// elsewhere. As long as it is there, that other place belongs to it.
const movedNote = "MOVED.txt"

// directory is where the data of a server is.
type directory struct {
	path      string
	lock      string // the file that whoever prepares or starts it holds
	standsFor string // the directory that was asked for, when path is another
	temporary bool   // path and what is around it go with the server
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
	if exists(filepath.Join(requested, movedNote)) || acc.enters(ctx, parent) != nil {
		return placeElsewhere(ctx, requested, acc)
	}
	return directory{path: requested, lock: lockOf(requested)}, nil
}

func lockOf(requested string) string { return requested + ".lock" }

// placeElsewhere gives a directory that the account cannot enter a substitute,
// named after it.
func placeElsewhere(ctx context.Context, requested string, acc *account) (directory, error) {
	sum := sha256.Sum256([]byte(requested))
	var tried []error
	for _, base := range []string{"/var/lib/prefsd-dev", filepath.Join(os.TempDir(), "prefsd-dev"), "/tmp/prefsd-dev"} {
		if err := sharedDir(ctx, base, acc); err != nil {
			tried = append(tried, err)
			continue
		}
		path := filepath.Join(base, hex.EncodeToString(sum[:8]))
		return directory{path: path, lock: lockOf(requested), standsFor: requested}, nil
	}
	return directory{}, fmt.Errorf("%s, whom PostgreSQL runs as, cannot enter the parents of %s, and no other place would do: %w", acc, requested, errors.Join(tried...))
}

// claim ties a substitute to the directory it stands for by a note in there.
// Whoever deletes that directory deletes the note and so disowns the data: a
// substitute without its note is begun afresh. The caller holds the lock.
func (d directory) claim(ctx context.Context, acc *account) error {
	note := filepath.Join(d.standsFor, movedNote)
	if d.standsFor == "" || exists(note) {
		return nil
	}
	port, err := d.adoptable(ctx)
	if err != nil {
		return err
	}
	if port != 0 {
		return fmt.Errorf("%s was deleted, but its data in %s is still served on port %d: stop that server first", d.standsFor, d.path, port)
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("remove the data that %s has given up: %w", d.standsFor, err)
	}
	if err := os.MkdirAll(d.standsFor, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	text := fmt.Sprintf("PostgreSQL runs as %s, who cannot enter this directory. Its data is in\n%s\nDelete this directory to begin afresh.\n", acc, d.path)
	if err := os.WriteFile(note, []byte(text), 0o600); err != nil {
		return fmt.Errorf("note where the data is: %w", err)
	}
	return nil
}

// sharedDir makes a directory that everybody can enter and only we can change.
func sharedDir(ctx context.Context, path string, acc *account) error {
	if err := makeShared(path); err != nil {
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
	return acc.enters(ctx, path)
}

// makeShared makes a directory with the mode it has to have, whatever the umask.
func makeShared(path string) error {
	const mode = 0o755
	if err := os.MkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	err := os.Mkdir(path, mode)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// enters says why the account cannot pass through a directory, if it cannot. It
// asks the system, which knows about every parent, access lists and mounts.
func (a *account) enters(ctx context.Context, dir string) error {
	if a == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd -- "$0"`, dir) //nolint:gosec // the directory is an argument, not part of the script
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), a.attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s cannot enter %s: %w %s", a, dir, errors.Join(err, ctx.Err()), out)
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
