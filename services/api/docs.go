package api

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"go.yaml.in/yaml/v3"

	"github.com/prefsd/prefsd/pkg/fault"
)

// docsFiles are the page and what it loads. Swagger UI is as its makers
// published it, compressed; make generate puts it there.
//
//go:embed docs
var docsFiles embed.FS

// pagePolicy lets the page run and show its own files, and ask nobody but this
// service. Swagger UI has its icons within its style sheet.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// unchanging is for files whose names change with what is in them.
const unchanging = "public, max-age=31536000, immutable"

// manual is the page for people, and the files that it loads by their names.
type manual struct {
	page  *document
	files map[string]*document
}

var theManual = sync.OnceValue(newManual)

func newManual() manual {
	m := manual{files: map[string]*document{}}
	named := map[string]string{} // by what the file is called here
	for _, f := range []struct{ name, contentType string }{
		{"swagger-ui/swagger-ui.css.gz", "text/css; charset=utf-8"},
		{"swagger-ui/swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"},
		{"docs.css", "text/css; charset=utf-8"},
		{"docs.js", "text/javascript; charset=utf-8"},
	} {
		content, plain := mustRead(f.name), strings.TrimSuffix(path.Base(f.name), ".gz")
		name := hashed(plain, tagOf(content))
		named[plain] = "docs/" + name
		d := newDocument
		if plain != path.Base(f.name) {
			d = newPacked
		}
		m.files[name] = d(named[plain], f.contentType, content)
		m.files[name].header = http.Header{echo.HeaderCacheControl: {unchanging}}
	}
	const license = "swagger-ui-bundle.js.LICENSE.txt" // the bundle refers to it by this name
	m.files[license] = newDocument("docs/"+license, "text/plain; charset=utf-8", mustRead("swagger-ui/"+license))
	m.page = newDocument("docs", "text/html; charset=utf-8", page(named))
	m.page.header = http.Header{echo.HeaderContentSecurityPolicy: {pagePolicy}}
	return m
}

// mustRead reads a file that is part of the program.
func mustRead(name string) []byte {
	content, err := docsFiles.ReadFile("docs/" + name)
	if err != nil {
		panic(err)
	}
	return content
}

// hashed puts a tag before the ending of a name.
func hashed(name, tag string) string {
	ending := path.Ext(name)
	return strings.TrimSuffix(name, ending) + "." + tag + ending
}

// outline is what the page shows by itself, to readers without scripts: all
// operations.
type outline struct {
	Title string
	Tags  []outlineTag
	files map[string]string
}

type outlineTag struct {
	Name, Description string
	Operations        []outlineOperation
}

type outlineOperation struct{ Method, Path, Summary string }

// File is where the page finds a file.
func (o outline) File(name string) string { return o.files[name] }

func page(files map[string]string) []byte {
	var description struct {
		Info  struct{ Title string }
		Tags  []outlineTag
		Paths yaml.Node // in the order of the file
	}
	if err := yaml.Unmarshal(OpenAPI, &description); err != nil {
		panic(err)
	}
	o := outline{Title: description.Info.Title, Tags: description.Tags, files: files}
	at := map[string]*outlineTag{}
	for i := range o.Tags {
		at[o.Tags[i].Name] = &o.Tags[i]
	}
	paths := description.Paths.Content
	for i := 0; i+1 < len(paths); i += 2 {
		methods := paths[i+1].Content
		for j := 0; j+1 < len(methods); j += 2 {
			var op struct {
				Tags    []string
				Summary string
			}
			if methods[j+1].Decode(&op) != nil || len(op.Tags) == 0 {
				continue // what the methods of the path have in common
			}
			t := at[op.Tags[0]]
			t.Operations = append(t.Operations, outlineOperation{strings.ToUpper(methods[j].Value), paths[i].Value, op.Summary})
		}
	}
	var out bytes.Buffer
	if err := template.Must(template.ParseFS(docsFiles, "docs/page.html")).Execute(&out, o); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// docs answers GET /docs.
func (s *server) docs(c echo.Context) error { return theManual().page.answer(c) }

// docsFile answers GET /docs/{file}.
func (s *server) docsFile(c echo.Context) error {
	if d, ok := theManual().files[c.Param("file")]; ok {
		return d.answer(c)
	}
	return fault.New(fault.NotFound, fault.ReasonNotFound, "The page at /docs does not have this file, or has another version of it by now.")
}
