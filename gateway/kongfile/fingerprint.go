package kongfile

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Fingerprint is the same for two plugins, of this configuration or another one, that
// say the same: by their keys, the certificates that they refer to, and what follows
// from the plugins beside them.
func (f *File) Fingerprint(p *OpenIDConnect) [32]byte {
	h := sha256.New()
	p.m.hash(h)
	var authorities []string
	if header := p.Certificate.Header; header != nil {
		authorities = append(authorities, header.Authorities...)
	}
	if chain := p.Certificate.Chain; chain != nil {
		chain.m.hash(h)
		authorities = append(authorities, chain.Authorities...)
	}
	for _, id := range authorities {
		if cert := f.Authorities[id]; cert != nil {
			fmt.Fprintf(h, "%q %x\n", id, cert.Raw)
		}
	}
	if cert := f.Certificates[p.Client.CertificateID]; cert != nil {
		fmt.Fprintf(h, "%x\n", cert.Certificate)
	}
	fmt.Fprintf(h, "%q\n", p.Session.Cookie())
	return [32]byte(h.Sum(nil))
}

func (m *mapping) hash(h hash.Hash) {
	names := make([]string, 0, len(m.values))
	for name := range m.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(h, "%q: ", name)
		m.document.hash(h, m.values[name])
	}
}

// hash adds a value with the environment's values in it.
func (d *document) hash(h hash.Hash, n *yaml.Node) {
	fmt.Fprintf(h, "%d %s %d ", n.Kind, n.Tag, len(n.Content))
	if n.Kind == yaml.ScalarNode {
		text, _, _ := d.env.expand(n.Value) // a mistake is noted where it is read
		fmt.Fprintf(h, "%q\n", text)
	}
	for _, inner := range n.Content {
		d.hash(h, inner)
	}
}
