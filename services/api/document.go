package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/precondition"
)

// document is a body that stays the same for as long as the process runs. Anyone
// may ask for it, as often as he likes, so that it is compressed beforehand.
type document struct {
	name        string
	contentType []string
	tag         string      // changes with the text
	header      http.Header // instead of what reads have
	text        func() []byte
	packed      []byte // nil if that is not shorter
}

func newDocument(name, contentType string, text []byte) *document {
	d := &document{name: name, contentType: []string{contentType}, tag: tagOf(text), text: func() []byte { return text }}
	out := sink{}
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(text) // a sink takes everything
	_ = w.Close()
	if len(out.b) < len(text) {
		d.packed = out.b
	}
	return d
}

// newPacked returns a document that is compressed already. Few callers want it
// plain.
func newPacked(name, contentType string, packed []byte) *document {
	return &document{
		name: name, contentType: []string{contentType}, tag: tagOf(packed), packed: packed,
		text: sync.OnceValue(func() []byte { return unpacked(packed) }),
	}
}

func tagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// unpacked decompresses what is part of the program.
func unpacked(packed []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return text
}

// answer is a handler.
func (d *document) answer(c echo.Context) error {
	conditions, err := conditionsOf(c)
	if err != nil {
		return err
	}
	if done, err := judged(c, conditions, state{tag: d.tag, exists: true, name: d.name, header: d.header}); done || err != nil {
		return err
	}
	readHeaders(c, d.tag, d.header)
	h := c.Response().Header()
	h[echo.HeaderContentType] = d.contentType
	if d.packed == nil || !httpd.TakesGzip(c.Request().Header) {
		return write(c, http.StatusOK, d.text())
	}
	h[echo.HeaderContentEncoding] = codingGzip
	h[headerETag] = []string{quoted(d.tag + precondition.GzipSuffix)}
	return write(c, http.StatusOK, d.packed)
}
