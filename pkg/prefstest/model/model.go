// Package model visits every interleaving of the protocols that lists, deletions, operations and the outbox follow, with
// crashes, repeated deliveries and processes that were given up too early. It finds what a test with real parts meets once in
// a million runs, and it shows the shortest way there.
//
// It checks protocols, not code. Each action stands for statements and functions of the product, which it names (see action),
// so that the two can be read side by side; a test fails when one of them is renamed or gone. A change of a protocol begins
// here: change the action, see whether the scenarios hold, then change the statement.
//
// # How PostgreSQL is modelled
//
//   - A step is one statement, or several that no other process can tell from one: under locks that the statements
//     themselves hold, nothing can come between them.
//   - READ COMMITTED. What a transaction writes stays in its process until it commits; others read the last committed state.
//     A read keeps what it saw.
//   - A row lock blocks. The predicate of a blocked UPDATE is evaluated on the row as it is once the lock is free. SKIP
//     LOCKED leaves rows out.
//   - An advisory lock of a bucket is shared by those who add or remove an entity, and exclusive for the transaction that
//     records a state, which holds no other lock. Where a scenario asks for it, who waits for the exclusive lock holds up
//     those who come later, as PostgreSQL's queue does; else a grant is one step.
//   - A unique key that another transaction has inserted blocks until that one ends.
//
// # How failures are modelled
//
// A process may crash between any two steps, as often as the scenario allows: its transaction is gone, its locks are free, and
// what it had in memory is lost. A partition may move to another consumer, and an operation to another runner, while the first
// one still believes that it has it.
package model

import "strings"

// system is what can be explored. Next emits every state that one step leads to; who and what name the step in a trace. Check
// names what is wrong with a state; at an end no step is possible.
type system[S comparable] struct {
	start S
	next  func(s S, emit func(who, what string, to S))
	check func(s S, end bool) string
}

// outcome is what an exploration has found.
type outcome struct {
	states    int
	violation string // empty: none
	trace     []string
}

// tooMany keeps a careless scenario from eating the machine.
const tooMany = "too many states"

// came is how a state was reached first, which is a shortest way: from the one of that number.
type came struct {
	from      int32
	who, what string
}

// explore visits every state, nearest first, until one is wrong.
func (m system[S]) explore(limit int) outcome {
	seen := map[S]struct{}{m.start: {}}
	paths := []came{{from: -1}}
	level, deeper := []S{m.start}, []S(nil)
	for first := int32(0); len(level) > 0; level, deeper = deeper, level[:0] {
		next := int32(len(paths))
		for i, s := range level {
			end, at := true, first+int32(i)
			m.next(s, func(who, what string, to S) {
				end = end && to == s // what changes nothing leads nowhere
				if _, known := seen[to]; !known {
					seen[to] = struct{}{}
					deeper, paths = append(deeper, to), append(paths, came{at, who, what})
				}
			})
			why := m.check(s, end)
			if why == "" && len(paths) > limit {
				why = tooMany
			}
			if why != "" {
				return outcome{len(paths), why, traced(paths, at)}
			}
		}
		first = next
	}
	return outcome{states: len(paths)}
}

func traced(paths []came, at int32) []string {
	var back []string
	for ; paths[at].from >= 0; at = paths[at].from {
		back = append(back, paths[at].who+": "+paths[at].what)
	}
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	return back
}

// String is a trace for a reader.
func (o outcome) String() string {
	if o.violation == "" {
		return "holds"
	}
	return o.violation + "\n    " + strings.Join(o.trace, "\n    ")
}

// action is one step of a process.
type action struct {
	name string
	// stands names what it stands for, separated by blanks: a statement as
	// file.sql:name under pkg/postgres, a function as package/file.go:Name under
	// pkg or services.
	stands string
}
