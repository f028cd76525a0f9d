package events

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/prefsd/prefsd/pkg/fault"
)

//go:embed schemas
var files embed.FS

// AsyncAPI describes the channels and refers to the schemas.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte

// Schemas returns every schema, by "type/version".
func Schemas() map[string][]byte {
	out := map[string][]byte{}
	names, err := fs.Glob(files, "schemas/*/*.json")
	for _, name := range names {
		b, failed := files.ReadFile(name)
		err = errors.Join(err, failed)
		out[strings.TrimSuffix(strings.TrimPrefix(name, "schemas/"), ".json")] = b
	}
	if err != nil {
		panic(err) // the files are part of the program
	}
	return out
}

// SchemaURI names a schema: the CloudEvents dataschema of its events. It is a
// name and not an address, so that it is the same in every deployment.
func SchemaURI(t Type, version int) string {
	return fmt.Sprintf("urn:prefsd:schema:%s:%d", t, version)
}

// Schema returns the JSON Schema (draft 2020-12) of a type's Kafka value; false
// if there is none.
func Schema(t Type, version int) ([]byte, bool) {
	b, err := files.ReadFile(path.Join("schemas", string(t), strconv.Itoa(version)+".json"))
	return b, err == nil
}

// HasSchema says whether the contract describes a type in that version.
func HasSchema(t Type, version int) bool {
	_, ok := Schema(t, version)
	return ok
}

// Validate checks a Kafka value against the schema of its type. A value that
// does not fit is an Invalid fault; neither it nor its cause holds a byte of
// the value.
func Validate(t Type, version int, value []byte) error {
	return validate(SchemaURI(t, version), t, value)
}

// ValidateData is like Validate for the data alone, in whatever envelope it
// came.
func ValidateData(t Type, version int, data json.RawMessage) error {
	return validate(SchemaURI(t, version)+dataPointer, t, data)
}

const dataPointer = "#/$defs/data"

// compiled holds every schema by its URI, for whole values and for data alone.
// Compiled schemas are safe for concurrent use.
var compiled = sync.OnceValues(compile)

func compile() (map[string]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	var uris []string
	err := fs.WalkDir(files, "schemas", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		version, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".json"))
		if err != nil {
			return fmt.Errorf("%s is not named after a version: %w", name, err)
		}
		uri := SchemaURI(Type(path.Base(path.Dir(name))), version)
		uris = append(uris, uri, uri+dataPointer)
		return c.AddResource(uri, doc)
	})
	if err != nil {
		return nil, fmt.Errorf("event schemas: %w", err)
	}
	out := make(map[string]*jsonschema.Schema, len(uris))
	for _, uri := range uris {
		if out[uri], err = c.Compile(uri); err != nil {
			return nil, fmt.Errorf("event schemas: %w", err)
		}
	}
	return out, nil
}

func validate(uri string, t Type, value []byte) error {
	schemas, err := compiled()
	if err != nil {
		return err
	}
	schema, ok := schemas[uri]
	if !ok {
		return fmt.Errorf("no schema %s", uri)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return notJSON(err)
	}
	err = schema.Validate(doc)
	if err == nil {
		return nil
	}
	misfit := fault.New(fault.Invalid, ReasonInvalidEvent, "The event does not fit the schema of %s.", t)
	if v, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return misfit.Violating(violations(v, nil)...)
	}
	return misfit
}

// maxViolations bounds what is said about one value.
const maxViolations = 10

// violations names the members that do not fit, and what their schema asks of
// them. Every name in it is one that the schema declares: the value's own words
// stay out.
func violations(v *jsonschema.ValidationError, found []fault.Violation) []fault.Violation {
	for _, cause := range v.Causes {
		found = violations(cause, found)
	}
	if len(v.Causes) > 0 || len(found) == maxViolations {
		return found
	}
	field := strings.Join(v.InstanceLocation, ".")
	if required, ok := v.ErrorKind.(*kind.Required); ok {
		return append(found, fault.Violation{Field: field, Description: "must have " + strings.Join(required.Missing, ", ")})
	}
	return append(found, fault.Violation{Field: cmp.Or(field, "value"), Description: "does not fit: " + strings.Join(v.ErrorKind.KeywordPath(), "/")})
}
