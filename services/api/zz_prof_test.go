package api_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/api/middleware"
)

func TestZZProf(t *testing.T) {
	w := begin(t)
	h := api.New(api.Options{Preferences: w.prefs, Verifier: verifier(t), Log: slog.New(slog.DiscardHandler), Record: func(middleware.Sample) {}, Timeout: 10 * time.Second})
	tok := token(t, "u")
	items := []string{}
	for i := range 20 {
		items = append(items, fmt.Sprintf(`{"entityId":"acc-%d","order":%d,"attributes":{"label": "Everyday account", "pinned": true}}`, i, i+1))
	}
	body := `{"domain":"accounts","preferences":[` + strings.Join(items, ",") + `]}`
	do := func(method, path, body, inm string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+tok)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if inm != "" {
			r.Header.Set("If-None-Match", inm)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	etag := do("PUT", "/preferences:batchReplace", body, "").Header().Get("ETag")
	for name, f := range map[string]func(){
		"list": func() { do("GET", "/preferences?domain=accounts", "", "") },
		"304": func() {
			if c := do("GET", "/preferences?domain=accounts", "", etag).Code; c != http.StatusNotModified {
				panic(c)
			}
		},
		"replace": func() { do("PUT", "/preferences:batchReplace", body, "") },
	} {
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				f()
			}
		})
		fmt.Println(name, r, r.MemString())
	}
}
