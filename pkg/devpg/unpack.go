package devpg

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if err := os.Chmod(fresh, 0o755); err != nil { //nolint:gosec // the server's account has to read it
		return err
	}
	if err := unpack(archive, fresh); err != nil {
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
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the server's account has to read it
		return err
	}
	// Packages lose the modes of their files.
	mode := os.FileMode(0o644)
	if strings.HasPrefix(name, "bin/") {
		mode = 0o755
	}
	w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode) //nolint:gosec // inside dir, and the archive is the pinned one
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

func within(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q leads out of the archive", name)
	}
	return filepath.Join(dir, name), nil
}
