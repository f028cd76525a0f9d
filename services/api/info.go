package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// About is what a deployment says about itself.
type About struct {
	Version string              // of the program
	Domains preferences.Domains // that it keeps lists in
}

// infoJSON is the answer of GET /info.
type infoJSON struct {
	Name           string       `json:"name"`
	Version        string       `json:"version"`
	Domains        []domainJSON `json:"domains"`
	DomainsVersion string       `json:"domainsVersion"`
	Limits         limitsJSON   `json:"limits"`
	Capabilities   []string     `json:"capabilities"`
}

type domainJSON struct {
	Name       string `json:"name"`
	EntityType string `json:"entityType"`
}

type limitsJSON struct {
	Items              int    `json:"items"`
	EntityID           int    `json:"entityIdCharacters"`
	UserID             int    `json:"userIdBytes"`
	Domain             int    `json:"domainCharacters"`
	AttributesBytes    int    `json:"attributesBytes"`
	AttributesDepth    int    `json:"attributesDepth"`
	AttributesKeys     int    `json:"attributesKeys"`
	AttributesKey      int    `json:"attributesKeyCharacters"`
	ListAttributes     int    `json:"listAttributesBytes"`
	Body               int    `json:"bodyBytes"`
	URL                int    `json:"urlBytes"`
	Headers            int    `json:"headerBytes"`
	PageSize           int    `json:"pageSize"`
	HistoryPageSize    int    `json:"historyPageSize"`
	FilterTerms        int    `json:"filterComparisons"`
	SyncVersions       int    `json:"syncVersions"`
	IdempotencyKey     int    `json:"idempotencyKeyCharacters"`
	IdempotencyHours   int    `json:"idempotencyHours"`
	AwaitedEntities    int    `json:"awaitedEntities"`
	RequestsOfUsers    string `json:"requestsOfUsers"`    // number/time, or off
	RequestsOfServices string `json:"requestsOfServices"` // likewise
	UsersAtOnce        int    `json:"requestsOfUsersAtOnce"`
	ServicesAtOnce     int    `json:"requestsOfServicesAtOnce"`
	AtWork             int    `json:"requestsAtWork"`
}

// capabilities name what a client may rely on. A name that stands here once
// keeps its meaning.
var capabilities = []string{
	"batchUpdate", "fields", "filter", "history", "idempotencyKey", "minVersion", "preconditions", "problemJson", "restore", "returnMinimal",
	"syncToken", "validateOnly",
}

// newInfo tells about a deployment; it stays the same while the process runs.
func newInfo(about About, l Limits) *document {
	info := infoJSON{Name: "prefsd", Version: about.Version, Domains: []domainJSON{}, Limits: published(l), Capabilities: capabilities}
	sum := sha256.New()
	for _, d := range about.Domains.All() {
		info.Domains = append(info.Domains, domainJSON{d.Name, d.EntityType})
		sum.Write(mustJSON(d))
	}
	info.DomainsVersion = base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12])
	return newDocument("info", typeJSON[0], append(mustJSON(info), '\n'))
}

func published(l Limits) limitsJSON {
	out := limitsJSON{
		Items: preferences.MaxItems, EntityID: preferences.MaxEntityID, UserID: preferences.MaxUserID, Domain: preferences.MaxDomain,
		AttributesBytes: preferences.MaxAttributesBytes, AttributesDepth: preferences.MaxAttributesDepth,
		AttributesKeys: preferences.MaxAttributesKeys, AttributesKey: preferences.MaxAttributesKeyLength,
		ListAttributes: preferences.MaxListAttributesBytes, Body: middleware.MaxBody, URL: middleware.MaxURL, Headers: middleware.MaxHeader,
		PageSize: preferences.MaxItems, HistoryPageSize: preferences.MaxHistory, FilterTerms: preferences.MaxFilterTerms,
		SyncVersions: preferences.MaxSyncVersions, IdempotencyKey: middleware.MaxIdempotencyKey,
		IdempotencyHours: int(preferences.KeyRetention.Hours()), AwaitedEntities: preferences.MaxInline,
		RequestsOfUsers: l.User.String(), RequestsOfServices: l.System.String(), AtWork: l.AtWork,
	}
	if l.User.Requests > 0 {
		out.UsersAtOnce = userAtOnce
	}
	if l.System.Requests > 0 {
		out.ServicesAtOnce = systemAtOnce
	}
	return out
}

// mustJSON encodes what consists of strings and numbers.
func mustJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// answerInfo answers GET /info.
func (s *server) answerInfo(c echo.Context) error { return s.info.answer(c) }

var asyncAPI = sync.OnceValue(func() *document { return newDocument("asyncapi.yaml", "application/yaml", events.AsyncAPI) })

// asyncapi answers GET /asyncapi.yaml.
func (s *server) asyncapi(c echo.Context) error { return asyncAPI().answer(c) }

// schemas are those of events, by "type/version".
var schemas = sync.OnceValue(func() map[string]*document {
	out := map[string]*document{}
	for name, text := range events.Schemas() {
		out[name] = newDocument("schemas/"+name, "application/schema+json", text)
	}
	return out
})

// schema answers GET /schemas/{type}/{version}.
func (s *server) schema(c echo.Context) error {
	if d, ok := schemas()[c.Param("type")+"/"+c.Param("version")]; ok {
		return d.answer(c)
	}
	return fault.New(fault.NotFound, fault.ReasonNotFound, "There is no such schema; /asyncapi.yaml names those that there are.")
}
