package oidc

// Remembered returns how many answers of each kind i holds.
func Remembered(i *Introspector) (active, refused int) { return i.active.size(), i.refused.size() }

// RememberedCredentials returns how many of everything c holds.
func RememberedCredentials(c *ClientCredentials) (granted, refused, buckets int) {
	c.guesses.mu.Lock()
	defer c.guesses.mu.Unlock()
	return c.granted.size(), c.refused.size(), len(c.guesses.empty)
}

func (r refusals) size() (n int) {
	for i := range r.sets {
		for _, s := range r.sets[i].slots {
			if !s.until.IsZero() {
				n++
			}
		}
	}
	return n
}
