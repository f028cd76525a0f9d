package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/sony/gobreaker/v2"
)

// answer says of every id that was asked about whether it exists.
type answer map[string]bool

// lookupJSON is what the owner sends. Both members must be there: an empty
// object says nothing.
type lookupJSON struct {
	Accounts *[]struct {
		ID string `json:"id"`
	} `json:"accounts"`
	NotFound *[]string `json:"notFound"`
}

// statusError is an answer other than 200.
type statusError int

// Error implements error.
func (s statusError) Error() string { return fmt.Sprintf("it answered %d", int(s)) }

// errNonsense is an answer that says nothing that can be believed.
var errNonsense = errors.New("its answer does not say of each id whether it exists")

// passing says whether a request that failed may succeed soon.
func passing(err error) bool {
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) || errors.Is(err, errNonsense) {
		return false
	}
	status, answered := errors.AsType[statusError](err)
	return !answered || status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

func (c *Client) request(ctx context.Context, ids []string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.query(ids), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read its answer: %w", err)
	case res.StatusCode != http.StatusOK:
		return nil, statusError(res.StatusCode)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%w: it is longer than %d bytes", errNonsense, maxAnswer)
	}
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, fmt.Errorf("%w: it is not JSON", errNonsense)
	}
	return read(body, ids)
}

// read believes an answer only if it names each id exactly once, as one that
// exists or as one that does not.
func read(body []byte, ids []string) (answer, error) {
	var in lookupJSON
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: it is not JSON", errNonsense)
	}
	if in.Accounts == nil || in.NotFound == nil {
		return nil, fmt.Errorf("%w: accounts or notFound is not there", errNonsense)
	}
	got := make(answer, len(ids))
	for _, id := range *in.NotFound {
		got[id] = false
	}
	for _, a := range *in.Accounts {
		if _, twice := got[a.ID]; twice {
			return nil, fmt.Errorf("%w: one is named twice", errNonsense)
		}
		got[a.ID] = true
	}
	asked := make(map[string]bool, len(ids))
	for _, id := range ids {
		asked[id] = true
		if _, told := got[id]; !told {
			return nil, fmt.Errorf("%w: one is not named", errNonsense)
		}
	}
	if len(got) != len(asked) {
		return nil, fmt.Errorf("%w: it names others", errNonsense)
	}
	return got, nil
}
