package mtlspop

import "sync"

// recent remembers at least the last maxRecent things put into it, and at most
// twice as many. It is only for facts that cost nothing but time to find out
// again, so that it may forget whatever it likes.
//
// The zero recent is empty and ready. It is safe for concurrent use.
type recent[V any] struct {
	mu    sync.RWMutex
	young map[thumbprint]V
	old   map[thumbprint]V
}

// maxRecent bounds one generation. A parsed certificate holds about 8 KB.
const maxRecent = 512

// get returns what is known about the certificate with the given digest.
func (c *recent[V]) get(sum thumbprint) (v V, ok bool) {
	c.mu.RLock()
	v, ok = c.young[sum]
	if ok {
		c.mu.RUnlock()
		return v, true
	}
	v, ok = c.old[sum]
	c.mu.RUnlock()
	if ok {
		c.put(sum, v)
	}
	return v, ok
}

// put remembers v. Once a generation is full, the one before it is forgotten.
func (c *recent[V]) put(sum thumbprint, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= maxRecent {
		c.old, c.young = c.young, make(map[thumbprint]V)
	}
	c.young[sum] = v
}
