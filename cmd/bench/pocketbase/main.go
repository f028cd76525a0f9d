// Command pocketbase is PocketBase with the lists of prefsd in a collection that
// each user sees the own records of. cmd/bench measures prefsd beside it. It is a
// module of its own, so that prefsd depends on nothing of it.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// collection holds one record for each item of a list.
const collection = "preferences"

// settings come from the environment, as cmd/bench sets it.
type settings struct {
	addr, dir, tokens string
	users, items      int
	attributes        string
}

func main() {
	s := settings{addr: os.Getenv("HTTP_ADDR"), dir: os.Getenv("DATA_DIR"), tokens: os.Getenv("TOKENS_FILE"), attributes: os.Getenv("ATTRIBUTES")}
	s.users, s.items = number("USERS"), number("ITEMS")
	app := pocketbase.NewWithConfig(pocketbase.Config{DefaultDataDir: s.dir, HideStartBanner: true})
	app.OnServe().BindFunc(func(e *core.ServeEvent) error {
		if err := s.prepare(e.App); err != nil {
			return err
		}
		return e.Next()
	})
	app.RootCmd.SetArgs([]string{"serve", "--http=" + s.addr})
	if err := app.Start(); err != nil {
		log.Fatal(err)
	}
}

func number(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return n
}

// prepare makes the collection and its records, and a token for each user.
func (s settings) prepare(app core.App) error {
	app.Settings().Batch.Enabled = true
	app.Settings().Logs.MaxDays = 0
	if err := app.Save(app.Settings()); err != nil {
		return err
	}
	if err := app.Save(list()); err != nil {
		return err
	}
	if err := app.RunInTransaction(s.fill); err != nil {
		return err
	}
	tokens := make([]string, s.users)
	for i := range tokens {
		user, err := app.FindRecordById("users", id(i+1))
		if err == nil {
			tokens[i], err = user.NewAuthToken()
		}
		if err != nil {
			return err
		}
	}
	text, err := json.Marshal(tokens)
	if err != nil {
		return err
	}
	return os.WriteFile(s.tokens, text, 0o600)
}

// list is the collection: everybody may do everything with the own records.
func list() *core.Collection {
	c := core.NewBaseCollection(collection)
	c.Fields.Add(
		&core.TextField{Name: "user", Required: true}, &core.TextField{Name: "domain", Required: true},
		&core.TextField{Name: "entityType", Required: true}, &core.TextField{Name: "entityId", Required: true},
		&core.NumberField{Name: "order", OnlyInt: true}, &core.JSONField{Name: "attributes"},
		&core.AutodateField{Name: "created", OnCreate: true}, &core.AutodateField{Name: "updated", OnCreate: true, OnUpdate: true},
	)
	c.AddIndex("idx_preferences_user", true, "user, domain, entityType, entityId", "")
	own := types.Pointer("user = @request.auth.id")
	c.ListRule, c.ViewRule, c.CreateRule, c.UpdateRule, c.DeleteRule = own, own, own, own, own
	return c
}

// id is how PocketBase spells numbers: its ids have 15 characters.
func id(n int) string { return fmt.Sprintf("%015d", n) }

// fill writes rows as they are, because a password's hash for each user would
// take minutes.
func (s settings) fill(tx core.App) error {
	now := types.NowDateTime().String()
	for u := 1; u <= s.users; u++ {
		_, err := tx.DB().Insert("users", dbx.Params{
			"id": id(u), "email": fmt.Sprintf("user-%d@example.com", u), "tokenKey": fmt.Sprintf("%050d", u), "password": "-",
			"verified": true, "created": now, "updated": now,
		}).Execute()
		if err != nil {
			return err
		}
		for k := 1; k <= s.items; k++ {
			_, err := tx.DB().Insert(collection, dbx.Params{
				"id": id(u*64 + k), "user": id(u), "domain": "accounts", "entityType": "account", "entityId": fmt.Sprintf("acc-%d", k),
				"order": k, "attributes": s.attributes, "created": now, "updated": now,
			}).Execute()
			if err != nil {
				return err
			}
		}
	}
	return nil
}
