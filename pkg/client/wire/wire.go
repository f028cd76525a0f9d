// Package wire has the shapes of prefsd's HTTP API and a request for each of
// its operations. It is generated from the description of the API (make
// generate); package client is what programs use.
package wire

// Ignored is what the server alone sets, whatever it is; there is no need to
// send it.
type Ignored = any
