package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/precondition"
)

// document is a body that stays the same for as long as the process runs. Anyone
// may ask for it, as often as he likes, so that it is compressed beforehand.
type document struct {
	name        string
	contentType []string
	tag         string // changes with the text
	text        []byte
	packed      []byte // nil if that is not shorter
}

func newDocument(name, contentType string, text []byte) *document {
	sum := sha256.Sum256(text)
	d := &document{name: name, contentType: []string{contentType}, tag: base64.RawURLEncoding.EncodeToString(sum[:12]), text: text}
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

// answer is a handler.
func (d *document) answer(c echo.Context) error {
	conditions, err := conditionsOf(c)
	if err != nil {
		return err
	}
	if done, err := judged(c, conditions, state{tag: d.tag, exists: true, name: d.name}); done || err != nil {
		return err
	}
	readHeaders(c, d.tag)
	h := c.Response().Header()
	h[echo.HeaderContentType] = d.contentType
	if d.packed == nil || !takesGzip(c.Request().Header) {
		return write(c, http.StatusOK, d.text)
	}
	h[echo.HeaderContentEncoding] = codingGzip
	h[headerETag] = []string{quoted(d.tag + precondition.GzipSuffix)}
	return write(c, http.StatusOK, d.packed)
}
