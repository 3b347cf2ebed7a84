package strictjson

import (
	"bytes"
	"hash/maphash"
)

// few is more names than most claim sets and all proofs have open at once.
const few = 32

// names are those of the objects that are open at a position, the outermost first:
// a stack, from which an object takes its names when it ends.
//
// With few of them, a name is looked for by its hash among those of its object.
// With more, slots says where it would be, so that the time for a name does not
// grow with their number. The hash is keyed: an attacker cannot choose names that
// meet in one place.
type names struct {
	n         int
	hashes    [few]uint32
	spans     [few]span
	more      []entry // from index few on
	unescaped []byte

	// slots is a table with open addressing and linear probing, of indices plus one;
	// nil until there are more than few names. Its length is a power of two, and at
	// most half of it is in use.
	slots []uint32
}

type entry struct {
	hash uint32
	span span
}

var seed = maphash.MakeSeed()

// add appends name. It reports false if the object whose names begin at first has
// it already.
// A name that was there is refused (RFC 7515, section 4; RFC 7519, section 4). Names are
// compared by bytes (RFC 8259, section 8.3).
func (s *scanner) add(name span, first int) bool {
	text := s.textOf(name)
	hash := uint32(maphash.Bytes(seed, text))
	n := &s.names
	if n.slots == nil {
		for i := first; i < n.n; i++ {
			if n.hashes[i] == hash && bytes.Equal(s.textOf(n.spans[i]), text) {
				return false
			}
		}
		if n.n < few {
			n.hashes[n.n], n.spans[n.n] = hash, name
			n.n++
			return true
		}
	} else {
		for slot := n.slot(hash); n.slots[slot] != 0; slot = n.after(slot) {
			i := int(n.slots[slot] - 1)
			// Those of the objects around this one may have the same name.
			if i >= first && n.hash(i) == hash && bytes.Equal(s.textOf(n.span(i)), text) {
				return false
			}
		}
	}
	n.push(hash, name, len(s.raw))
	return true
}

func (s *scanner) textOf(name span) []byte {
	if n := uint32(len(s.raw)); name.start >= n {
		return s.names.unescaped[name.start-n : name.end-n : name.end-n]
	}
	return s.raw[name.start:name.end:name.end]
}

func (n *names) hash(i int) uint32 {
	if i < few {
		return n.hashes[i]
	}
	return n.more[i-few].hash
}

func (n *names) span(i int) span {
	if i < few {
		return n.spans[i]
	}
	return n.more[i-few].span
}

func (n *names) last() span { return n.span(n.n - 1) }

func (n *names) slot(hash uint32) uint32 { return hash & uint32(len(n.slots)-1) }

func (n *names) after(slot uint32) uint32 { return (slot + 1) & uint32(len(n.slots)-1) }

// push appends a name where there are many. rawLen is the length of the input, which
// tells how many there may be.
func (n *names) push(hash uint32, name span, rawLen int) {
	if n.more == nil {
		n.more = make([]entry, 0, min(max(rawLen/16, 2*few), 4096))
	}
	if n.n < few {
		n.hashes[n.n], n.spans[n.n] = hash, name
	} else {
		n.more = append(n.more, entry{hash, name})
	}
	n.n++
	if 2*n.n > len(n.slots) {
		n.grow()
		return
	}
	n.enter(n.n - 1)
}

func (n *names) grow() {
	const least = 8 * few
	size := least
	for size < 2*(few+cap(n.more)) {
		size *= 2
	}
	n.slots = make([]uint32, size)
	for i := range n.n {
		n.enter(i)
	}
}

// enter puts the index of a name into the first free slot from its own on.
func (n *names) enter(i int) {
	slot := n.slot(n.hash(i))
	for n.slots[slot] != 0 {
		slot = n.after(slot)
	}
	n.slots[slot] = uint32(i + 1)
}

// truncate drops the names from first on, the last one first. Nothing that is left
// was entered behind one of them, so its slot can simply be freed.
func (n *names) truncate(first int) {
	if n.slots == nil {
		n.n = first
		return
	}
	for ; n.n > first; n.n-- {
		i := n.n - 1
		slot := n.slot(n.hash(i))
		for n.slots[slot] != uint32(i+1) {
			slot = n.after(slot)
		}
		n.slots[slot] = 0
	}
	n.more = n.more[:max(first-few, 0)]
}

// unescape appends what text stands for, beyond the end of an input of rawLen bytes.
func (n *names) unescape(text []byte, rawLen int) span {
	start := rawLen + len(n.unescaped)
	n.unescaped = appendUnescaped(n.unescaped, text)
	return span{uint32(start), uint32(rawLen + len(n.unescaped))}
}
