package devpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version that has everything the schema needs.
const oldest = 15

// binaries is a directory with a server that runs here.
type binaries struct {
	dir     string
	version string // as in 18.4
	major   int
}

// places are where distributions and package managers install servers.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// binaries finds a server of the wanted major version (0: any that is recent
// enough), first among those installed, then by download.
func (o Options) binaries(ctx context.Context, acc *account, major int) (binaries, error) {
	if o.BinDir != "" {
		return inspect(ctx, o.BinDir, acc, major)
	}
	var refused []error
	if !o.Download {
		for _, dir := range installed(ctx) {
			bin, err := inspect(ctx, dir, acc, major)
			if err == nil {
				return bin, nil
			}
			refused = append(refused, err)
		}
	}
	dir, err := o.download(ctx, acc)
	if err == nil {
		var bin binaries
		if bin, err = inspect(ctx, dir, acc, major); err == nil {
			return bin, nil
		}
	}
	return binaries{}, fmt.Errorf("no PostgreSQL to run: %w", errors.Join(append(refused, err)...))
}

// installed lists directories that have the server's programs, the best guess
// first. Packages of clients bring pg_config and psql without a server.
func installed(ctx context.Context) []string {
	var dirs []string
	if config, err := exec.LookPath("pg_config"); err == nil {
		if out, err := exec.CommandContext(ctx, config, "--bindir").Output(); err == nil { //nolint:gosec // the program is the one on the path
			dirs = append(dirs, strings.TrimSpace(string(out)))
		}
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range places {
		dirs = append(dirs, newestFirst(pattern)...)
	}
	return slices.DeleteFunc(unique(dirs), func(dir string) bool { return !hasServer(dir) })
}

func newestFirst(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	fixed, _, _ := strings.Cut(pattern, "*")
	major := func(path string) int {
		n, err := strconv.Atoi(digits.FindString(strings.TrimPrefix(path, fixed)))
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(major(b), major(a)) })
	return found
}

var digits = regexp.MustCompile(`\d+`)

func unique(dirs []string) []string {
	var out []string
	for _, dir := range dirs {
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

var versionOutput = regexp.MustCompile(`PostgreSQL\) (\d+)(\S*)`)

// inspect runs the server's program as the account would: what it may not read,
// or what was built for another system, is found out here.
func inspect(ctx context.Context, dir string, acc *account, major int) (binaries, error) {
	if !hasServer(dir) {
		return binaries{}, fmt.Errorf("%s does not hold initdb and postgres", dir)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version") //nolint:gosec // the path is what the caller asked for or what was found
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), acc.attr()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return binaries{}, fmt.Errorf("run postgres in %s: %w %s", dir, err, out)
	}
	match := versionOutput.FindStringSubmatch(string(out))
	if match == nil {
		return binaries{}, fmt.Errorf("postgres in %s names no version: %q", dir, out)
	}
	bin := binaries{dir: dir, version: match[1] + match[2]}
	if bin.major, err = strconv.Atoi(match[1]); err != nil {
		return binaries{}, fmt.Errorf("postgres in %s names no version: %w", dir, err)
	}
	if bin.major < oldest {
		return binaries{}, fmt.Errorf("PostgreSQL %s in %s is older than %d", bin.version, dir, oldest)
	}
	if major != 0 && bin.major != major {
		return binaries{}, fmt.Errorf("PostgreSQL %s in %s cannot read data of version %d", bin.version, dir, major)
	}
	return bin, nil
}
