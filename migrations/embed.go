// Package migrations is the schema of the database: one SQL file per step,
// embedded in the binaries, and the few calls that move a database along it.
//
// Steps only go forward in production. Each one works with the release before
// it and the release after it, so a step is applied first and the code that
// needs it is rolled out second. A down step exists for development and for a
// release that has to be taken back before it wrote anything.
package migrations

import "embed"

// FS holds the SQL files, named NNNNN_what.sql and numbered without holes.
//
//go:embed *.sql
var FS embed.FS
