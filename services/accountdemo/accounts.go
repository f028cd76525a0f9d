// Package accountdemo plays the service that owns accounts, for development and
// for trying things out. It answers GET /accounts as the owner would, lets
// accounts be created, deleted and restored, and announces each change on Kafka.
// An event of a change that it acknowledged is never lost: the change and its
// event are one write of its file, and the event stays there until the broker
// has it.
package accountdemo

import (
	"fmt"
	"time"
)

// account is one account, deleted ones included: they keep their number.
type account struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"createdAt"`
	ChangedAt time.Time `json:"changedAt"` // of its last event: the next one is later
	Deleted   bool      `json:"deleted"`
}

// known are the accounts that the scenarios speak of. Their numbers are their
// places in the list.
func known() []account {
	day := func(d, hour, minute int) time.Time {
		return time.Date(2024, time.January, d, hour, minute, 0, 0, time.UTC)
	}
	return []account{
		{ID: "acc-001", Name: "Enterprise Account A", Type: "enterprise", CreatedAt: day(10, 10, 0)},
		{ID: "acc-002", Name: "SMB Account B", Type: "small_business", CreatedAt: day(12, 14, 30)},
		{ID: "acc-003", Name: "Startup Account C", Type: "startup", CreatedAt: day(15, 9, 15)},
		{ID: "acc-004", Name: "Corporate Account D", Type: "corporate", CreatedAt: day(18, 11, 45)},
		{ID: "acc-005", Name: "New Account E", Type: "startup", CreatedAt: day(22, 8, 0)},
		{ID: "acc-006", Name: "Another Account F", Type: "small_business", CreatedAt: day(25, 16, 20)},
	}
}

// seeded returns account number n, from 1: a known one, or a made-up one that is
// the same in every run.
func seeded(n int) account {
	first := known()
	if n <= len(first) {
		a := first[n-1]
		a.ChangedAt = a.CreatedAt
		return a
	}
	words := []string{"Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper", "Larch", "Maple"}
	kinds := []struct{ name, kind string }{
		{"Industries", "enterprise"}, {"Store", "small_business"}, {"Labs", "startup"}, {"Group", "corporate"}, {"Partners", "corporate"},
	}
	// Twelve words and five kinds have no common divisor: sixty different names
	// come before the first is used again.
	i := n - len(first) - 1
	kind := kinds[i%len(kinds)]
	name := words[i%len(words)] + " " + kind.name
	if round := i / (len(words) * len(kinds)); round > 0 {
		name = fmt.Sprintf("%s %d", name, round+1)
	}
	at := first[len(first)-1].CreatedAt.Add(time.Duration(i+1) * time.Hour)
	return account{ID: idOf(n), Name: name, Type: kind.kind, CreatedAt: at, ChangedAt: at}
}

func idOf(n int) string { return fmt.Sprintf("acc-%03d", n) }
