package redisstore

import "sync"

// digest identifies a proof.
type digest [idBytes]byte

// known is a bounded memory of proofs that have been used. What is in it is used
// for certain, so that it can save a round trip; what is not in it says nothing, so
// that it may forget. A nil known is always empty.
type known struct {
	half int

	mu         sync.Mutex
	young, old map[digest]struct{}
}

// newKnown makes a memory for n proofs.
func newKnown(n int) *known {
	if n == 0 {
		return nil
	}
	return &known{half: (n + 1) / 2, young: make(map[digest]struct{})}
}

func (k *known) has(d digest) bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.young[d]; ok {
		return true
	}
	_, ok := k.old[d]
	return ok
}

// add remembers d. When the younger half is full, the older one is forgotten at once.
func (k *known) add(d digest) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.young) >= k.half {
		k.young, k.old = make(map[digest]struct{}), k.young
	}
	k.young[d] = struct{}{}
}
