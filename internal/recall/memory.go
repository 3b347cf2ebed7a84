package recall

import "github.com/maypok86/otter/v2"

// Memory is a bounded map. When it is full, it keeps what is asked for often
// over what is new (W-TinyLFU), so that a flood of keys never seen before does not
// wash out what is in use. Entries carry their own times: there is no clock here,
// and so no goroutine. The zero Memory is not usable; see [NewMemory].
type Memory[V any] struct{ entries *otter.Cache[[32]byte, V] }

// NewMemory returns a Memory of at most size entries.
func NewMemory[V any](size int) Memory[V] {
	return Memory[V]{otter.Must(&otter.Options[[32]byte, V]{
		MaximumSize: size,
		// Evicting on the goroutine that writes, not on one of its own, holds the bound at all times.
		Executor: func(f func()) { f() },
	})}
}

// Get returns the value of key, if there is one.
func (m Memory[V]) Get(key [32]byte) (V, bool) { return m.entries.GetIfPresent(key) }

// Set sets the value of key. Another entry may go for it, or this one.
func (m Memory[V]) Set(key [32]byte, v V) { m.entries.Set(key, v) }

// Delete forgets key.
func (m Memory[V]) Delete(key [32]byte) { m.entries.Invalidate(key) }

// Len is about how many entries there are.
func (m Memory[V]) Len() int { return m.entries.EstimatedSize() }
