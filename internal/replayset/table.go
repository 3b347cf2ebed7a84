package replayset

import (
	"hash/maphash"
	"slices"
)

// digest identifies a proof. The zero digest marks an empty slot.
type digest [16]byte

// newDigest takes 128 bits of a SHA-256.
func newDigest(id *[32]byte) digest {
	d := digest(id[:])
	if d == (digest{}) {
		d[0] = 1 // as likely as any other value: never
	}
	return d
}

// table is a set of digests that grows a page at a time (extendible hashing): no
// add ever moves more than the digests of one page, and no old half waits to be
// moved. Where a digest goes follows from its hash.
type table struct {
	end   int64 // of its bucket
	depth uint8
	pages []*page // 1<<depth; several may be the same page
}

const (
	pageSlots = 63

	// A page is split when a digest would come to lie further than that from
	// its place. Pages are half full and more then, and most searches look at one
	// cache line.
	maxDistance = 16

	// 1<<24 pages in each shard are more than any capacity asks for.
	maxDepthOfPage = 24
)

// page has 1,024 bytes. Digests are never removed, so that a search may end at
// the first empty slot.
type page struct {
	depth uint8 // hashes in here agree in that many low bits
	_     [15]byte
	slots [pageSlots]digest
}

func newTable(end int64) *table {
	return &table{end: end, pages: []*page{new(page)}}
}

// index returns where the page for hash is in t.pages.
func (t *table) index(hash uint64) uint64 { return hash & (1<<t.depth - 1) }

func (t *table) contains(hash uint64, d *digest) bool {
	_, found := t.pages[t.index(hash)].find(hash, d, pageSlots)
	return found
}

// add puts d into t, where it must not be yet. It reports whether it could: a page
// that cannot be split any further is the work of an attacker who knows the seed.
func (t *table) add(seed maphash.Seed, hash uint64, d *digest) bool {
	for {
		p := t.pages[t.index(hash)]
		limit := maxDistance
		if p.depth == maxDepthOfPage {
			limit = pageSlots
		}
		if slot, _ := p.find(hash, d, limit); slot >= 0 {
			p.slots[slot] = *d
			return true
		}
		if p.depth == maxDepthOfPage {
			return false
		}
		t.split(seed, hash)
	}
}

// find returns the slot of d, or the empty one where it belongs, or -1 if it has
// seen neither in as many slots as the limit says.
func (p *page) find(hash uint64, d *digest, limit int) (slot int, found bool) {
	slot = int(hash >> 40 % pageSlots)
	for range limit {
		switch p.slots[slot] {
		case *d:
			return slot, true
		case digest{}:
			return slot, false
		}
		if slot++; slot == pageSlots {
			slot = 0
		}
	}
	return -1, false
}

// split divides the page for hash in two, by one more bit.
func (t *table) split(seed maphash.Seed, hash uint64) {
	full := t.pages[t.index(hash)]
	if full.depth == t.depth {
		t.pages = slices.Concat(t.pages, t.pages)
		t.depth++
	}
	bit := uint64(1) << full.depth
	halves := [2]*page{{depth: full.depth + 1}, {depth: full.depth + 1}}
	for _, d := range full.slots {
		if d == (digest{}) {
			continue
		}
		h := maphash.Bytes(seed, d[:])
		half := halves[min(h&bit, 1)]
		// All of them would fit into one half, whatever the distance.
		slot, _ := half.find(h, &d, pageSlots)
		half.slots[slot] = d
	}
	for i := hash & (bit - 1); i < uint64(len(t.pages)); i += bit {
		t.pages[i] = halves[min(i&bit, 1)]
	}
}
