// Package prop holds the real API and the real consumer against a model of them that fits in the head: lists are slices, a
// version is a copy, a deleted account is an entry in a map. Sequences of requests and of owners' events are drawn at random,
// carried out over HTTP and by the consumer's handlers, and done in the model as well. Every answer, every version of every
// list and every event that is announced has to be what the model says. A sequence that fails is cut down to its shortest form.
//
// The model knows the contract (docs/api.md, docs/events.md) and nothing of pkg/preferences: it keeps whole copies where the
// product keeps deltas, compares whole lists where the product plans moves, and asks who wrote last where the product locks.
//
// # Where to find what
//
//   - model.go: lists and their versions. writes.go: what users do to them. owners.go: deletions, restorations, operators' cleans and their undo.
//     replay.go: what a delta of the history means.
//   - machine_test.go: a run, and the server's answers against the model. writes_test.go, reads_test.go, owners_test.go: what can
//     be drawn. stream_test.go: owners' events out of order. reckon_test.go: the end of a run, with all that was announced.
//   - prop_test.go: the properties, each a choice of what is drawn.
package prop
