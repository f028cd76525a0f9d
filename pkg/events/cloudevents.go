package events

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Names of CloudEvents 1.0 and its Kafka binding.
const (
	attributePrefix = "ce_" // of the headers of an event in binary mode
	structuredMedia = "application/cloudevents"
	specVersion     = "1.0"
)

// attributes are those of a CloudEvent, by name without a prefix.
type attributes map[string]string

// cloudEvents is what the headers of a record say about it.
type cloudEvents struct {
	attributes attributes
	media      string // the content type, in small letters and without parameters
	twice      bool   // an attribute is named twice: readers disagree about which one counts
}

func readCloudEvents(headers []Header) cloudEvents {
	out := cloudEvents{attributes: attributes{}}
	for _, h := range headers {
		name := strings.ToLower(h.Name)
		if name == "content-type" {
			media, _, _ := strings.Cut(string(h.Value), ";")
			out.media = strings.ToLower(strings.TrimSpace(media))
			continue
		}
		attribute, ok := strings.CutPrefix(name, attributePrefix)
		if !ok {
			continue
		}
		if _, taken := out.attributes[attribute]; taken {
			out.twice = true
		}
		out.attributes[attribute] = string(h.Value)
	}
	return out
}

func (c cloudEvents) structured() bool { return strings.HasPrefix(c.media, structuredMedia) }

func (c cloudEvents) binary() bool {
	_, ok := c.attributes["specversion"]
	return ok
}

// readBinary reads an event whose attributes are headers and whose data is the
// value. Data that is no JSON is no matter here: its type may be of no interest.
func (e *Event) readBinary(c cloudEvents, key, value []byte) error {
	if c.twice {
		return malformed("The headers name an attribute twice.")
	}
	a := c.attributes
	// Without an id, what tells two events about one thing apart is in headers.
	e.ID = digest(key, value, a["source"], a["type"], a["time"], a["subject"])
	e.Data = dataOf(value)
	return e.readAttributes(a)
}

// dataOf returns nil for bytes that cannot be JSON: readers would replace what
// is not UTF-8 by something that is.
func dataOf(b []byte) json.RawMessage {
	if len(b) == 0 || !utf8.Valid(b) {
		return nil
	}
	return b
}

// readStructured reads an event whose attributes and data are members of the
// value.
func (e *Event) readStructured(c cloudEvents, members map[string]json.RawMessage) error {
	if c.structured() && c.media != structuredMedia && c.media != structuredMedia+"+json" {
		return malformed("The content type is neither %s+json nor JSON.", structuredMedia)
	}
	a := attributes{}
	for name, raw := range members {
		if s, ok := text(raw); ok && name != "data" && name != "data_base64" {
			a[name] = s
		}
	}
	e.Data = members["data"]
	if encoded, ok := text(members["data_base64"]); ok {
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || e.Data != nil {
			return malformed("The event's data_base64 is not base64, or not its only data.")
		}
		e.Data = dataOf(data)
	}
	return e.readAttributes(a)
}

// readAttributes takes what an event needs, in whatever mode it came.
func (e *Event) readAttributes(a attributes) error {
	if id := a["id"]; usableID(id) {
		e.ID = id
	}
	if a["specversion"] != specVersion {
		return malformed("The event's specversion is not %s.", specVersion)
	}
	if a["type"] == "" {
		return malformed("The event has no type.")
	}
	if e.Traceparent == "" && traceparent.MatchString(a["traceparent"]) {
		e.Traceparent = a["traceparent"]
	}
	e.Type, e.Time = Type(a["type"]), parseTime(a["time"])
	return nil
}
