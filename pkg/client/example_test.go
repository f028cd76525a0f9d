package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/prefsd/prefsd/pkg/client"
)

func Example() {
	service := example() // stands for prefsd
	defer service.Close()
	ctx := context.Background()
	alice, err := client.New(client.Config{BaseURL: service.URL, Token: client.StaticToken("alice's token")})
	if err != nil {
		fmt.Println(err)
		return
	}
	saved, err := alice.Save(ctx, "accounts", []client.Item{
		{EntityID: "acc-003", Attributes: &client.Attributes{"isFavorite": true}},
		{EntityID: "acc-001"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range saved.Preferences {
		fmt.Println(p.Order, p.EntityID)
	}
	// Output:
	// 1 acc-003
	// 2 acc-001
}

// Two programs change one list. What the other did is merged, not overwritten.
func ExampleClient_Edit() {
	service := example()
	defer service.Close()
	ctx := context.Background()
	one, _ := client.New(client.Config{BaseURL: service.URL})
	two, _ := client.New(client.Config{BaseURL: service.URL})

	calls := 0
	saved, err := one.Edit(ctx, "accounts", func(current *client.List) ([]client.Item, error) {
		calls++
		if calls == 1 { // somebody is faster
			if _, err := two.Save(ctx, "accounts", []client.Item{{EntityID: "acc-001"}}); err != nil {
				return nil, err
			}
		}
		return append(client.Items(current), client.Item{EntityID: "acc-002"}), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(calls, saved.Preferences[0].EntityID, saved.Preferences[1].EntityID)
	// Output: 2 acc-001 acc-002
}

// A copy of a list is kept up to date by what has changed.
func ExampleClient_Sync() {
	service := example()
	defer service.Close()
	ctx := context.Background()
	alice, _ := client.New(client.Config{BaseURL: service.URL})
	if _, err := alice.Save(ctx, "accounts", []client.Item{{EntityID: "acc-001"}, {EntityID: "acc-002"}}); err != nil {
		fmt.Println(err)
		return
	}
	list, err := alice.Sync(ctx, "accounts", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(list.Preferences), "items")

	if _, err := alice.Save(ctx, "accounts", []client.Item{{EntityID: "acc-002"}}); err != nil { // somewhere else
		fmt.Println(err)
		return
	}
	if list, err = alice.Sync(ctx, "accounts", list); err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range list.Preferences {
		fmt.Println(p.Order, p.EntityID)
	}
	// Output:
	// 2 items
	// 1 acc-002
}

// Many entities are removed from everybody's lists, which an operator watches.
func ExampleClient_BulkClean() {
	looks := 0
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // stands for prefsd
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
		} else {
			looks++
		}
		fmt.Fprintf(w, `{"name": "operations/0192", "done": %t, "metadata": {"state": "running", "progress": {"done": %d, "total": 80, "percent": %d}},
			"response": {"summary": {"totalPreferencesDeleted": 80, "affectedUsers": 31}}}`, looks == 2, 40*looks, 50*looks)
	}))
	defer service.Close()
	ctx := context.Background()
	operator, _ := client.New(client.Config{BaseURL: service.URL, Token: client.StaticToken("a token with preferences.system")})

	cleaned, err := operator.BulkClean(ctx, []client.Entity{{Type: "account", ID: "acc-001"}, {Type: "account", ID: "acc-002"}}, client.RespondAsync())
	if err != nil {
		fmt.Println(err)
		return
	}
	report := cleaned.CleanReport
	if cleaned.Operation != nil { // it goes on
		op, err := operator.Wait(ctx, cleaned.Operation.Name, func(op *client.Operation) {
			fmt.Println(op.Metadata.Progress.Percent, "%")
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		if report, err = op.Response.AsCleanReport(); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(report.Summary.TotalPreferencesDeleted, "items of", report.Summary.AffectedUsers, "users are gone")
	// Output:
	// 50 %
	// 100 %
	// 80 items of 31 users are gone
}

func ExampleError() {
	service := example()
	defer service.Close()
	alice, _ := client.New(client.Config{BaseURL: service.URL})
	_, err := alice.Save(context.Background(), "accounts", nil, client.IfMatch("0000000000000000"))
	var refused *client.Error
	if errors.Is(err, client.ErrChanged) && errors.As(err, &refused) {
		fmt.Println("somebody was faster; now it is", refused.ETag)
	}
	// Output: somebody was faster; now it is 000000000000000v0
}

// example is a service with one list, just enough for the examples.
func example() *httptest.Server {
	version, items, gone := 0, []any{}, []any{}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf("000000000000000v%d", version)
		if match := r.Header.Get("If-Match"); match != "" && match != `"`+etag+`"` {
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprintf(w, `{"error":{"code":"PRECONDITION_FAILED","details":{"currentEtag":%q}}}`, etag)
			return
		}
		if r.Method == http.MethodPut {
			var body struct{ Preferences []map[string]any }
			_ = json.NewDecoder(r.Body).Decode(&body)
			version, items, gone = version+1, []any{}, items
			for i, p := range body.Preferences {
				p["order"], p["id"] = i+1, p["entityId"]
				items = append(items, p)
			}
			etag = fmt.Sprintf("000000000000000v%d", version)
		}
		w.Header().Set("ETag", `"`+etag+`"`)
		token := fmt.Sprintf("token-%d", version)
		if r.URL.Query().Has("syncToken") {
			_ = json.NewEncoder(w).Encode(map[string]any{"changed": items, "removed": gone, "etag": etag, "version": version, "syncToken": token})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"preferences": items, "etag": etag, "version": version, "totalSize": len(items), "syncToken": token})
	}))
}
