package middleware

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Quota is how many requests a subject may send in a window. It is a bucket that
// holds so many and fills up evenly: whoever was quiet for a whole window may
// send all of them at once. The zero value sets no limit.
type Quota struct {
	Requests int
	Window   time.Duration
}

// NoQuota is the text of the zero Quota.
const NoQuota = "off"

const (
	mostRequests  = 1_000_000_000 // so that what one request costs can be told in nanoseconds
	longestWindow = 24 * time.Hour
)

// UnmarshalText reads 600/1m, which is 600 requests a minute, or off.
func (q *Quota) UnmarshalText(text []byte) error {
	if string(text) == NoQuota {
		*q = Quota{}
		return nil
	}
	number, window, _ := strings.Cut(string(text), "/")
	requests, err := strconv.Atoi(number)
	if err != nil || requests < 1 || requests > mostRequests {
		return fmt.Errorf("must be like 600/1m, with 1 to %d requests, or off, not %q", mostRequests, text)
	}
	length, err := time.ParseDuration(window)
	if err != nil || length < time.Second || length > longestWindow || length%time.Second != 0 {
		return fmt.Errorf("must be like 600/1m, with a window of whole seconds up to %s, or off, not %q", longestWindow, text)
	}
	*q = Quota{Requests: requests, Window: length}
	return nil
}

// String is what UnmarshalText reads.
func (q Quota) String() string {
	if q.Requests == 0 {
		return NoQuota
	}
	return fmt.Sprintf("%d/%s", q.Requests, q.Window)
}
