package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/precondition"
)

//go:embed dist
var dist embed.FS

// How long browsers keep what they got. Scripts and styles have a hash of their
// content in their names; pages, which name them, are asked for each time.
const (
	unchanging = "public, max-age=31536000, immutable"
	revalidate = "no-cache"
	never      = "no-store"
)

var hashed = regexp.MustCompile(`-[A-Z0-9]{8}\.(js|css)$`)

// types are those of the files that there may be. The operating system's table
// says other things on other machines.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// file is a file that stays the same for as long as the process runs. It is
// compressed once, at the start.
type file struct {
	contentType string
	cache       string
	tag         string // without quotes
	plain       []byte
	packed      []byte
}

// newFiles returns what was built, by the path at which it is served.
func newFiles() map[string]*file {
	files := map[string]*file{}
	err := fs.WalkDir(dist, "dist", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		files[address(strings.TrimPrefix(name, "dist"))] = newFile(name, content)
		return nil
	})
	if err != nil {
		panic(err) // they are part of the program
	}
	return files
}

// address leaves out of a path what people do not type.
func address(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, ".html"), "index")
}

func newFile(name string, content []byte) *file {
	sum := sha256.Sum256(content)
	f := &file{
		contentType: types[path.Ext(name)], cache: revalidate, tag: base64.RawURLEncoding.EncodeToString(sum[:12]),
		plain: content, packed: pack(content),
	}
	if hashed.MatchString(name) {
		f.cache = unchanging
	}
	return f
}

func pack(content []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// serve answers GET and HEAD. An embedded file has no time of its own, so a tag
// is what browsers compare; each coding has one.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h, body, tag := w.Header(), f.plain, f.tag
	if httpd.TakesGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		body, tag = f.packed, f.tag+precondition.GzipSuffix
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cache)
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
