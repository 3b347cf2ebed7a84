package dpop

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// digest identifies a proof.
type digest [16]byte

// table is a set of digests that grows a page at a time (extendible hashing): no
// Add ever moves more than the digests of one page.
type table struct {
	end   int64 // of its bucket
	depth uint8
	pages []*page // 1<<depth; several neighbours may be the same page
}

const (
	pageSlots    = 30
	maxPageDepth = 32
)

// page has 512 octets. Its tags, one octet of each digest's hash, share a cache
// line with the header, so that most searches look at nothing else.
type page struct {
	n     uint8
	depth uint8 // hashes in here agree in that many low bits
	tags  [pageSlots]uint8
	slots [pageSlots]digest
}

func newTable(end int64) *table {
	return &table{end: end, pages: []*page{new(page)}}
}

func tagOf(hash uint64) uint8 { return uint8(hash >> 48) }

// index returns where the page for hash is in t.pages.
func (t *table) index(hash uint64) uint64 { return hash & (1<<t.depth - 1) }

func (t *table) contains(hash uint64, d *digest) bool {
	p := t.pages[t.index(hash)]
	tag := tagOf(hash)
	for from := 0; ; from++ {
		i := bytes.IndexByte(p.tags[from:p.n], tag)
		if i < 0 {
			return false
		}
		from += i
		if p.slots[from] == *d {
			return true
		}
	}
}

// add puts d into t, where it must not be yet. It reports whether it could: a page
// that cannot be split any further would need thousands of millions of digests, or
// somebody who knows the seed.
func (t *table) add(seed maphash.Seed, hash uint64, d *digest) bool {
	for {
		p := t.pages[t.index(hash)]
		if p.n < pageSlots {
			p.put(hash, d)
			return true
		}
		if p.depth == maxPageDepth {
			return false
		}
		t.split(seed, hash)
	}
}

func (p *page) put(hash uint64, d *digest) {
	p.tags[p.n] = tagOf(hash)
	p.slots[p.n] = *d
	p.n++
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
		h := maphash.Bytes(seed, d[:])
		halves[min(h&bit, 1)].put(h, &d)
	}
	for i := hash & (bit - 1); i < uint64(len(t.pages)); i += bit {
		t.pages[i] = halves[min(i&bit, 1)]
	}
}
