// Package crashpoint names the places between two steps at which a process may
// die. Production code calls Hit there. Only binaries built with the tag
// crashpoints can be told to die at one of them; in all others Hit is empty, and
// the compiler drops it.
package crashpoint
