package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// overHTTP2 ends the ID of a finding that HTTP/1.1 does not show.
const overHTTP2 = "@h2"

// http2 looks at the service over HTTP/2: a terminator may treat it in another way, and
// it can carry requests that HTTP/1.1 cannot.
func (c *Config) http2(ctx context.Context) error {
	two := *c
	switch {
	case c.HTTP2 != nil:
		two.Client = c.HTTP2
	case !c.Client.HTTP2:
		c.skip("http2", "the service does not offer HTTP/2, or --http leaves it out")
		return nil
	}
	two.findings = nil
	if c.HTTP2 != nil {
		for _, look := range []func(*Config, context.Context) error{
			(*Config).challenge, (*Config).goodRequest, (*Config).stolenToken, (*Config).forgedCertificates, (*Config).addresses, (*Config).paths,
		} {
			if err := look(&two, ctx); err != nil {
				return err
			}
		}
		for i := range two.findings {
			two.findings[i].ID += overHTTP2
		}
	}
	two.onlyHTTP2(ctx)
	found := 0
	for _, i := range two.findings {
		known := func(other report.Item) bool { return other.Status == report.Fail && other.ID+overHTTP2 == i.ID }
		if i.Status == report.Fail && !slices.ContainsFunc(c.findings, known) {
			i.Message = "over HTTP/2: " + i.Message
			c.findings = append(c.findings, i)
			found++
		}
	}
	if found == 0 {
		c.pass("http2", "HTTP/2 shows nothing that HTTP/1.1 does not")
	}
	return nil
}

// onlyHTTP2 sends what HTTP/1.1 cannot express.
func (c *Config) onlyHTTP2(ctx context.Context) {
	for _, protocol := range []string{"", "h2c", "websocket", "connect-udp", "keybound"} {
		r := c.bare()
		r.Stream = []func(*wire.Stream){func(s *wire.Stream) { connect(s, protocol) }}
		if res := c.try(ctx, nil, r); ok(res) {
			c.finding("http2/connect", "error", fmt.Sprintf("CONNECT with the protocol %q and without credentials is answered with %d: what follows is past every guard", protocol, res.Status),
				"Let the terminator refuse CONNECT and leave extended CONNECT (RFC 8441) switched off. Envoy: allow_connect: false and no upgrade_configs with CONNECT. Go: no GODEBUG=http2xconnect=1 without a guard in front of the handler.")
			break
		}
	}
	if c.dpopWorks {
		c.try2(ctx, nil, c.good)
	}
	if c.certificateWorks {
		c.try2(ctx, c.Certificate, c.certified)
	}
}

func connect(s *wire.Stream, protocol string) {
	s.Open = true
	kept := s.Fields[:0]
	for _, f := range s.Fields {
		if f.Name == ":method" {
			f.Value = "CONNECT"
		}
		if protocol == "" && (f.Name == ":scheme" || f.Name == ":path") {
			continue
		}
		kept = append(kept, f)
	}
	s.Fields = kept
	if protocol != "" {
		s.Set(":protocol", protocol)
	}
}

// try2 sends a good request with one thing about it that no reader may take.
func (c *Config) try2(ctx context.Context, cert *tls.Certificate, good func(...wire.Field) wire.Request) {
	passes := func(edit func(*wire.Stream)) bool {
		r := good()
		r.Stream = []func(*wire.Stream){edit}
		return ok(c.try(ctx, cert, r))
	}
	if passes(hideCredentials) {
		c.finding("http2/line-ends", "error", "credentials behind a line end in the value of another field count: the terminator writes fields of HTTP/2 into HTTP/1.1 as they are, so that a client can write any request behind it",
			"Update the terminator: it must refuse fields with CR, LF or NUL (RFC 9113, section 8.2.1).")
	}
	if passes(func(s *wire.Stream) {
		i := slices.IndexFunc(s.Fields, func(f wire.Field) bool { return f.Name == ":authority" })
		s.Fields = append(s.Fields, wire.Field{Name: "host", Value: s.Fields[i].Value})
		s.Fields[i].Value = "keybound-doctor.invalid"
	}) {
		c.finding("http2/authority", "warning", "a request whose :authority is another host passes because of its Host field: rules by host in front of the service judge another request than the service",
			"Let the terminator build Host from :authority (RFC 9113, section 8.3.1). nginx: proxy_set_header Host $host.")
	}
	if passes(func(s *wire.Stream) { s.Set(":path", "https://keybound-doctor.invalid"+c.target()) }) {
		c.finding("http2/path", "warning", "a request whose :path is a whole URL of another host passes", "Update the terminator: :path begins with a slash (RFC 9113, section 8.3.1).")
	}
	if passes(func(s *wire.Stream) { s.Set(":method", c.Method+" "+c.target()) }) {
		c.finding("http2/method", "error", "a request whose :method has a space in it passes: written into HTTP/1.1 it is another request", "Update the terminator: it must refuse methods that are no token (RFC 9110, section 9.1).")
	}
}

// hideCredentials puts the credentials behind a line end in another field's value.
func hideCredentials(s *wire.Stream) {
	hidden := "1"
	kept := s.Fields[:0]
	for _, f := range s.Fields {
		if f.Name == "authorization" || f.Name == "dpop" {
			hidden += "\r\n" + f.Name + ": " + f.Value
			continue
		}
		kept = append(kept, f)
	}
	s.Fields = append(kept, wire.Field{Name: "x-keybound", Value: strings.TrimSpace(hidden)})
}
