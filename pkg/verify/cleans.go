package verify

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/prefsd/prefsd/pkg/events"
)

// announced is I6: the parts of preferences.cleaned of a cause name exactly the
// lists that the history says it cleaned, and exactly one of them is final.
func (r *Report) announced(changes []CleanChange, rows []OutboxRow) error {
	parts := map[string][]events.Cleaned{}
	for _, row := range rows {
		if row.Type != events.PreferencesCleaned {
			continue
		}
		var envelope struct{ Data events.Cleaned }
		if err := json.Unmarshal(row.Payload, &envelope); err != nil {
			return fmt.Errorf("outbox row %d: %w", row.ID, err)
		}
		parts[envelope.Data.Cause] = append(parts[envelope.Data.Cause], envelope.Data)
	}
	cleaned := map[string][]string{}
	for _, c := range changes {
		cleaned[c.Cause] = append(cleaned[c.Cause], fmt.Sprintf("%s list %d version %d", c.UserID, c.ListID, c.Version))
	}
	r.Cleans = len(parts)
	for cause, lists := range cleaned {
		if _, found := parts[cause]; !found {
			r.add("I6", cause, "cleaned %d lists and never said so", len(lists))
		}
	}
	for cause, all := range parts {
		r.parts(cause, all, cleaned[cause])
	}
	return nil
}

func (r *Report) parts(cause string, all []events.Cleaned, cleaned []string) {
	var told []string
	finals := 0
	for i, p := range all {
		if p.Part != i+1 {
			r.add("I6", cause, "has part %d where %d belongs", p.Part, i+1)
		}
		if p.Final {
			finals++
		}
		for _, l := range p.Lists {
			told = append(told, fmt.Sprintf("%s list %d version %d", l.UserID, l.ListID, l.Version))
			if !slices.Contains(p.AffectedUsers, l.UserID) {
				r.add("I6", cause, "part %d names a list of %s and not the user", p.Part, l.UserID)
			}
		}
	}
	if finals != 1 {
		r.add("I6", cause, "has %d final parts", finals)
	}
	slices.Sort(told)
	slices.Sort(cleaned)
	if !slices.Equal(told, cleaned) {
		r.add("I6", cause, "names %d lists, its history %d: %s", len(told), len(cleaned), firstDifference(told, cleaned))
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] + " against " + b[i]
		}
	}
	switch {
	case len(a) > len(b):
		return "more: " + a[len(b)]
	case len(b) > len(a):
		return "missing: " + b[len(a)]
	default:
		return "none"
	}
}
