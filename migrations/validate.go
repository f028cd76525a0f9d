package migrations

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

var fileName = regexp.MustCompile(`^(\d{5})_([a-z0-9_]+)\.sql$`)

// Validate reports everything that is wrong with the embedded files themselves:
// names, holes in the numbering, a missing or empty direction.
func Validate() error { return validate(FS) }

func validate(fsys fs.FS) error {
	names, err := fs.Glob(fsys, "*")
	if err != nil {
		return fmt.Errorf("list the migrations: %w", err)
	}
	if len(names) == 0 {
		return errors.New("there is no migration")
	}
	var found []error
	for i, name := range names {
		found = append(found, validateFile(fsys, name, int64(i)+1))
	}
	return errors.Join(found...)
}

func validateFile(fsys fs.FS, name string, want int64) error {
	step, err := stepOf(name)
	if err != nil {
		return err
	}
	if step.Version != want {
		return fmt.Errorf("%s: expected number %05d here", name, want)
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	up, down := directions(string(text))
	if up == 0 || down == 0 {
		return fmt.Errorf("%s: %d statements up and %d down, both directions need one", name, up, down)
	}
	return nil
}

// directions counts the lines that end a statement under each annotation.
func directions(text string) (up, down int) {
	var into *int
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.EqualFold(line, "-- +goose Up"):
			into = &up
		case strings.EqualFold(line, "-- +goose Down"):
			into = &down
		case into != nil && !strings.HasPrefix(line, "--") && strings.HasSuffix(line, ";"):
			*into++
		}
	}
	return up, down
}

// files lists the embedded steps by number, none of them applied.
func files() ([]Step, error) {
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	steps := make([]Step, 0, len(names))
	for _, name := range names {
		step, err := stepOf(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func stepOf(name string) (Step, error) {
	parts := fileName.FindStringSubmatch(name)
	if parts == nil {
		return Step{}, fmt.Errorf("%s: the name is not NNNNN_what.sql", name)
	}
	version, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return Step{}, fmt.Errorf("%s: %w", name, err)
	}
	return Step{Version: version, Name: parts[2]}, nil
}

func nameOf(path string) string {
	step, err := stepOf(path)
	if err != nil {
		return path
	}
	return step.Name
}
