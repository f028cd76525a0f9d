package middleware

import (
	"errors"
	"sync/atomic"
)

// Rooms that a body gets: the first is enough for nearly all and is not counted,
// since a connection takes that much anyway.
const (
	firstRoom = 8 << 10
	growth    = 8
)

// Memory bounds what the bodies of all requests in hand may take together.
type Memory struct {
	bytes atomic.Int64
	most  int64
}

// NewMemory returns room for so many bytes.
func NewMemory(most int64) *Memory { return &Memory{most: most} }

// InUse is how many bytes are taken, and how many there are.
func (m *Memory) InUse() (bytes, limit int64) { return m.bytes.Load(), m.most }

var errNoMemory = errors.New("the bodies of other requests take all the room there is for them")

// loan is what one request has of the memory.
type loan struct {
	of    *Memory
	bytes int64
}

// borrow makes the loan this large, or says that there is no room.
func (l *loan) borrow(bytes int64) bool {
	more := bytes - l.bytes
	if l.of.bytes.Add(more) > l.of.most {
		l.of.bytes.Add(-more)
		return false
	}
	l.bytes = bytes
	return true
}

func (l *loan) repay() { l.of.bytes.Add(-l.bytes) }
