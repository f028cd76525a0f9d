package devpg

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// nativeDir is the part of the package that holds the server.
	nativeDir = "package/native/"
	// linkList names the links that package archives cannot hold.
	linkList = "pg-symlinks.json"
)

// link is one entry of the link list: target becomes a link to source.
type link struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// unpackInto unpacks a verified archive beside target and renames it at the end,
// so that target is whole whenever it is there.
func unpackInto(archive, target string) (err error) {
	fresh, err := os.MkdirTemp(filepath.Dir(target), ".unpack-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := unpack(archive, fresh); err != nil {
		return err
	}
	if err := publish(fresh); err != nil {
		return err
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	return os.Rename(fresh, target)
}

func unpack(archive, dir string) error {
	f, err := os.Open(archive) //nolint:gosec // our own download
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	var links []link
	for {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return makeLinks(dir, links)
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(head.Name, nativeDir)
		if !ok || head.Typeflag != tar.TypeReg {
			continue
		}
		if name == linkList {
			err = json.NewDecoder(tr).Decode(&links)
		} else {
			err = unpackFile(tr, dir, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

func unpackFile(r io.Reader, dir, name string) error {
	path, err := within(dir, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600) //nolint:gosec // inside dir, and the archive is the pinned one
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

func makeLinks(dir string, links []link) error {
	for _, l := range links {
		target, err := within(dir, strings.TrimPrefix(l.Target, "native/"))
		if err != nil {
			return err
		}
		source, err := within(dir, strings.TrimPrefix(l.Source, "native/"))
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return err
		}
		if err := os.Symlink(relative, target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// publish lets everybody read the tree and run its programs: the account of the
// server is not ours, packages lose the modes of their files, and our umask may
// keep them from the rest of the world.
func publish(dir string) error {
	const program, plain = 0o755, 0o644
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() || filepath.Base(filepath.Dir(path)) == "bin" && entry.Type().IsRegular():
			return os.Chmod(path, program) //nolint:gosec // see above
		case entry.Type().IsRegular():
			return os.Chmod(path, plain) //nolint:gosec // see above
		default:
			return nil
		}
	})
}

func within(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q leads out of the archive", name)
	}
	return filepath.Join(dir, name), nil
}
