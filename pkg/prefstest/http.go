package prefstest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// Answer is what an HTTP server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body, as far as it fits.
func (a Answer) JSON(into any) error { return json.Unmarshal(a.Body, into) }

// List is the answer to reads and writes of a list, as a client needs it.
type List struct {
	Preferences []Preference `json:"preferences"`
	TotalSize   int          `json:"totalSize"`
	ETag        string       `json:"etag"`
	Version     int64        `json:"version"`
	Summary     struct{ Created, Updated, Deleted, Total int }
	Skipped     []struct{ EntityID string }
}

// Preference is one item of a list, and the answer to writes of one.
type Preference struct {
	ID         string          `json:"id"`
	EntityID   string          `json:"entityId"`
	Order      int             `json:"order"`
	Attributes json.RawMessage `json:"attributes"`
	ETag       string          `json:"etag"`
}

// Entities are the list's entity ids, in order.
func (l List) Entities() []string {
	out := make([]string, len(l.Preferences))
	for i, p := range l.Preferences {
		out[i] = p.EntityID
	}
	return out
}

// Caller sends requests as one user.
type Caller struct {
	Base, Token string
	HTTP        *http.Client
}

// NewCaller returns a caller with connections of its own.
func NewCaller(base, token string) *Caller {
	return &Caller{Base: base, Token: token, HTTP: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
}

// Close drops the caller's connections.
func (c *Caller) Close() { c.HTTP.CloseIdleConnections() }

// Do sends a request. An error means that no answer came: what happened is not
// known.
func (c *Caller) Do(ctx context.Context, method, path string, body any, headers ...string) (Answer, error) {
	var reader io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, reader)
	if err != nil {
		return Answer{}, err
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, answer}, err
}

// Order is a request that saves these entities in this order.
func Order(entities ...string) map[string]any {
	items := make([]map[string]any, len(entities))
	for i, e := range entities {
		items[i] = map[string]any{"entityId": e, "order": i + 1}
	}
	return map[string]any{"domain": "accounts", "preferences": items}
}
