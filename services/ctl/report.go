package ctl

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/verify"
)

// counting says what the progress of an operation counts, and what was done to it.
func counting(kind preferences.OperationKind) (unit, done string) {
	switch kind {
	case preferences.KindReconcile:
		return "entities", "asked about"
	case preferences.KindVerify:
		return "lists", "looked at"
	case preferences.KindClean, preferences.KindBulkClean:
	}
	return "items", "removed"
}

// reportRows is what an operation found out or did, for people.
func reportRows(o preferences.Operation) ([][]string, error) {
	switch {
	case o.Cleaned != nil:
		return cleanRows(o), nil
	case len(o.Report) == 0:
		return nil, nil
	case o.Kind == preferences.KindReconcile:
		return reportAs(o, reconcileRows)
	case o.Kind == preferences.KindVerify:
		return reportAs(o, verifyRows)
	default:
		return nil, nil
	}
}

func reportAs[T any](o preferences.Operation, rows func(T) [][]string) ([][]string, error) {
	var report T
	if err := json.Unmarshal(o.Report, &report); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	return rows(report), nil
}

// cleanRows has a row for each entity. One whose turn will not come any more
// does not wait for it.
func cleanRows(o preferences.Operation) [][]string {
	rows := make([][]string, len(o.Cleaned.Entities))
	over := o.State.Ended() || o.State == preferences.Compensating
	for i, e := range o.Cleaned.Entities {
		state := string(e.State)
		if over && e.State == preferences.Pending {
			state = "not begun"
		}
		rows[i] = []string{e.Entity.Type + " " + e.Entity.ID, strings.TrimSpace(fmt.Sprintf("%s, %d items %s", state, e.Deleted, failureText(e.Failure)))}
	}
	return rows
}

func reconcileRows(r reconcile.Report) [][]string {
	rows := [][]string{
		{"processed", strconv.FormatInt(r.Processed, 10)},
		{"found", strconv.FormatInt(r.Found, 10)},
		{"reconciled", strconv.FormatInt(r.Reconciled, 10)},
		{"waiting for a second run", strconv.FormatInt(r.Unconfirmed, 10)},
	}
	if r.Clean != "" {
		rows = append(rows, []string{"cleaned by", r.Clean})
	}
	for _, e := range r.Entities {
		rows = append(rows, []string{string(e.Action), e.EntityType + " " + e.EntityID})
	}
	return rows
}

// verifyRows names what is broken, with the samples that were kept.
func verifyRows(q verify.Quality) [][]string {
	rows := [][]string{{"violations", strconv.Itoa(q.Violations)}}
	for _, s := range q.Invariants {
		if s.Violations == 0 {
			continue
		}
		rows = append(rows, []string{s.Invariant, fmt.Sprintf("%d violations of: %s", s.Violations, s.Promise)})
		for _, f := range s.Samples {
			rows = append(rows, []string{s.Invariant, f.Subject + ": " + f.Problem})
		}
	}
	return rows
}
