package ctl

import (
	"fmt"
	"time"
)

// moment is a point in time on a command line: as RFC 3339 has it, or how long
// ago it was.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil && ago >= 0 {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a time like 2006-01-02T15:04:05Z nor how long ago, like 90m", text)
	}
	m.Time = at
	return nil
}
