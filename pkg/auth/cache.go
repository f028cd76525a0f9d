package auth

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// tokenCache remembers tokens whose signature was verified, by their hash: the
// least recently used ones go. Whether a token is valid now is not its business.
type tokenCache struct {
	mu      sync.Mutex
	size    int
	entries map[digest]*list.Element
	recent  list.List // of entry, most recently used first
}

// digest stands for a token, which is never kept.
type digest [sha256.Size]byte

type entry struct {
	token    digest
	verified *verifiedToken
}

func newTokenCache(size int) *tokenCache {
	return &tokenCache{size: size, entries: map[digest]*list.Element{}}
}

func (c *tokenCache) get(token digest) (*verifiedToken, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[token]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(element)
	e, ok := element.Value.(entry)
	return e.verified, ok
}

func (c *tokenCache) put(token digest, verified *verifiedToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries[token]; known || c.size <= 0 {
		return
	}
	c.entries[token] = c.recent.PushFront(entry{token: token, verified: verified})
	if c.recent.Len() > c.size {
		c.remove(c.recent.Back())
	}
}

// drop forgets a token that has expired.
func (c *tokenCache) drop(token digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.entries[token]; ok {
		c.remove(element)
	}
}

func (c *tokenCache) remove(element *list.Element) {
	if e, ok := c.recent.Remove(element).(entry); ok {
		delete(c.entries, e.token)
	}
}
