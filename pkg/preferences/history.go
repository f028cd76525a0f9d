package preferences

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Change is one version of a list, as the history keeps it.
type Change struct {
	ListID         int64
	UserID, Domain string
	Version        int64
	Time           time.Time
	Action         Action
	Actor          string          // see By
	RequestID      string          // empty: no request made it
	Operation      uuid.UUID       // Nil: no operation made it
	Forced         bool            // preconditions were overridden
	Gaps           bool            // readers saw gaps in this version
	Delta          json.RawMessage // a Delta, in the spelling of jsonb
}

// Sizes of pages of the history. They are bounded in bytes too, because a delta
// may hold all attributes of a list twice.
const (
	DefaultHistory  = 50
	MaxHistory      = 200
	MaxHistoryBytes = 4 << 20
)

// HistoryQuery asks for a page of a list's history, newest first.
type HistoryQuery struct {
	UserID, Domain string
	Size           int    // 0: DefaultHistory; more than MaxHistory: MaxHistory
	Token          string // of the page before; empty: the first page
}

// HistoryPage is a part of a list's history.
type HistoryPage struct {
	Changes   []Change
	NextToken string // empty: this is the last page
}

// HistoryRange is what History reads: versions below one, newest first, at most
// so many, and no more than MaxHistoryBytes of deltas unless it is one change.
type HistoryRange struct {
	UserID, Domain string
	Below          int64
	Limit          int
}

// versionJSON is where a page of the history ended.
type versionJSON struct {
	List    int64 `json:"l"`
	Version int64 `json:"v"`
}

// History returns a page of what the history keeps of a list.
func (s *Service) History(ctx context.Context, q HistoryQuery) (HistoryPage, error) {
	if _, err := s.domains.Find(q.Domain); err != nil {
		return HistoryPage{}, err
	}
	r := HistoryRange{UserID: q.UserID, Domain: q.Domain, Below: 1<<63 - 1, Limit: historySize(q.Size)}
	var last versionJSON
	if q.Token != "" {
		if !openJSON(q.bound(), q.Token, &last) {
			return HistoryPage{}, badHistoryToken("must be the nextPageToken of a page with the same domain")
		}
		r.Below = last.Version
	}
	changes, more, err := s.store.History(ctx, r)
	if err != nil {
		return HistoryPage{}, err
	}
	if q.Token != "" && len(changes) > 0 && changes[0].ListID != last.List {
		return HistoryPage{}, badHistoryToken("belongs to a list that was erased and begun again since")
	}
	page := HistoryPage{Changes: changes}
	if more {
		end := changes[len(changes)-1]
		page.NextToken = sealJSON(q.bound(), versionJSON{end.ListID, end.Version})
	}
	return page, nil
}

func (q HistoryQuery) bound() []byte { return fmt.Appendf(nil, "h1|%q|%q", q.UserID, q.Domain) }

func historySize(asked int) int {
	if asked <= 0 {
		return DefaultHistory
	}
	return min(asked, MaxHistory)
}

func badHistoryToken(why string) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidPageToken, "The page token does not belong to this query. Start again without pageToken.").
		Violating(fault.Violation{Field: "pageToken", Description: why})
}

// sealJSON makes a token of a value.
func sealJSON(bound []byte, value any) string {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err) // tokens hold numbers, times and ids
	}
	return seal(bound, content)
}

// openJSON reads what sealJSON made; false if the token is not one of these.
func openJSON(bound []byte, token string, into any) bool {
	content, ok := unseal(bound, token)
	return ok && json.Unmarshal(content, into) == nil
}
