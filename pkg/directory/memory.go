package directory

import (
	"sync"
	"time"
)

// maxRemembered bounds what is kept. Whoever asks about more of them asks again.
const maxRemembered = 50_000

// memory keeps answers for a short while, so that those who ask page by page, or
// at the same time, ask the owner once.
type memory struct {
	good time.Duration
	now  func() time.Time

	mu    sync.Mutex
	known map[string]fact
}

type fact struct {
	exists bool
	until  time.Time
}

func newMemory(good time.Duration, now func() time.Time) *memory {
	return &memory{good: good, now: now, known: map[string]fact{}}
}

func (m *memory) recall(id string) (exists, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.known[id]
	if !ok || !m.now().Before(f.until) {
		delete(m.known, id)
		return false, false
	}
	return f.exists, true
}

func (m *memory) keep(id string, exists bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxRemembered {
		clear(m.known)
	}
	m.known[id] = fact{exists, m.now().Add(m.good)}
}
