package terminators_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cast are the certificates of one test run.
type cast struct {
	roots *x509.CertPool
	site  *identity

	right, wrong, selfSigned, expired *identity

	sub, underSub *identity // an intermediate, and a client that sends it
	stranger      *identity // a client with a chain to another root, which it sends
}

func newCast(t *testing.T) *cast {
	root := issue(t, nil, "root", authority)
	sub := issue(t, root, "sub", authority)
	underSub := issue(t, sub, "client of sub", nil)
	underSub.chain = [][]byte{sub.cert.Raw}
	other := issue(t, nil, "root", authority)
	stranger := issue(t, other, "stranger", nil)
	stranger.chain = [][]byte{other.cert.Raw}
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	return &cast{
		roots:      roots,
		site:       issue(t, root, "server", func(c *x509.Certificate) { c.DNSNames = []string{"api.example"} }),
		right:      issue(t, root, "right", nil),
		wrong:      issue(t, root, "wrong", nil),
		selfSigned: issue(t, nil, "self-signed", nil),
		sub:        sub,
		underSub:   underSub,
		stranger:   stranger,
		expired:    issue(t, root, "expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
	}
}

// stage is one configuration, running.
type stage struct {
	*cast
	configuration
	service *service
	address string
}

func (s *stage) client(own *identity) *client {
	return &client{address: s.address, own: own, roots: s.roots}
}

// onEach runs test in every configuration.
func onEach(t *testing.T, test func(t *testing.T, s *stage)) {
	all := newCast(t)
	for _, c := range configurations() {
		t.Run(c.name, func(t *testing.T) {
			find(t, c.server)
			s := &stage{cast: all, configuration: c, service: newService(t, c)}
			s.address = start(t, c, s.service.address(), all.site)
			test(t, s)
		})
	}
}

func TestCertificates(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		for _, test := range []struct {
			name  string
			own   *identity
			bound *identity
			want  int
		}{
			{"the right certificate", s.right, s.right, 200},
			{"a wrong certificate", s.wrong, s.right, 401},
			{"no certificate", nil, s.right, 401},
			{"a self-signed certificate", s.selfSigned, s.selfSigned, 200},
			{"a self-signed certificate for another's token", s.selfSigned, s.right, 401},
			{"a certificate sent with its chain", s.underSub, s.underSub, 200},
			{"a chain in which the right certificate is not the leaf",
				&identity{cert: s.wrong.cert, key: s.wrong.key, chain: [][]byte{s.right.cert.Raw}}, s.right, 401},
		} {
			t.Run(test.name, func(t *testing.T) {
				got := s.client(test.own).get(t, test.bound.x5t())
				require.Equal(t, reply{status: test.want, reached: true}, got, "the field held %q", s.service.forwarded())
			})
		}
	})
}

// RFC 8705 has no need for a certificate to be valid still, but some terminators have.
func TestAnExpiredCertificate(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		c := s.client(s.expired)
		switch s.server.(type) {
		case nginx: // optional_no_ca forgives an unknown issuer, and nothing else.
			require.Equal(t, reply{status: 400}, c.get(t, s.expired.x5t()))
		case apache:
			_, err := c.try(request(s.expired.x5t()))
			require.ErrorContains(t, err, "expired certificate")
		default:
			require.Equal(t, reply{status: 200, reached: true}, c.get(t, s.expired.x5t()))
			require.Equal(t, reply{status: 401, reached: true}, c.get(t, s.right.x5t()))
		}
	})
}

func TestResumedSessionsKeepTheirCertificate(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
			for _, own := range []*identity{s.right, s.selfSigned, s.underSub, nil} {
				t.Run(name, func(t *testing.T) {
					c := s.client(own)
					c.version, c.sessions = version, tls.NewLRUClientSessionCache(1)
					bound, want := own, 200
					if own == nil {
						bound, want = s.right, 401
					}
					require.Equal(t, reply{status: want, reached: true}, c.get(t, bound.x5t()))
					// Caddy does not resume sessions where it asks for certificates.
					_, never := s.server.(caddy)
					got := c.get(t, bound.x5t())
					require.Equal(t, reply{status: want, reached: true, resumed: !never}, got, "the field held %q", s.service.forwarded())
					got = c.get(t, s.wrong.x5t())
					require.Equal(t, reply{status: 401, reached: true, resumed: !never}, got)
				})
			}
		}
	})
}

// forgery is a request that tries to speak for the holder of another certificate.
type forgery struct {
	name string
	raw  func(x5t string) string
	// plain: a well-formed request that differs from an honest one in the forged fields
	// only, so that it must be decided just as the honest one. The others may be refused
	// altogether.
	plain bool
}

// forgeries are made of the very value that the terminator sends for the victim.
func forgeries(field, value string) []forgery {
	line := field + ": " + value
	underscores := strings.ReplaceAll(field, "-", "_")
	lines := func(name string, plain bool, lines ...string) forgery {
		return forgery{name, func(x5t string) string { return request(x5t, lines...) }, plain}
	}
	return []forgery{
		lines("a forged field", true, line),
		lines("two forged fields", true, line, line),
		lines("a forged field in lower case", true, strings.ToLower(field)+": "+value),
		lines("a forged field in upper case", true, strings.ToUpper(field)+": "+value),
		lines("a forged field without a space", true, field+":"+value),
		lines("a forged field behind an empty one", true, field+":", line),
		lines("an empty field", true, field+":"),
		lines("a field of nonsense", true, field+": nonsense"),
		lines("a forged field with underscores", true, underscores+": "+value),
		lines("a forged field with one underscore", true, field[:strings.LastIndex(field, "-")]+"_"+field[strings.LastIndex(field, "-")+1:]+": "+value),
		lines("a forged chain", true, "Client-Cert-Chain: "+value),
		lines("a forged field and a forged chain", true, line, "Client-Cert-Chain: "+value),
		lines("a forged field with a space before the colon", false, field+" : "+value),
		lines("a forged field on two lines", false, field+":", " "+value),
		lines("a forged field in the fold of another", false, "X-Other: a", "\t"+line),
		lines("a forged field behind a bare line feed", false, "X-Other: a\n"+line),
		lines("a forged field behind a bare carriage return", false, "X-Other: a\r"+line),
		lines("the field in Connection", false, "Connection: "+field),
		lines("the field in Connection, and forged", false, "Connection: "+field, line),
		lines("the field in Connection in lower case, and forged twice", false, line, "Connection: close, "+strings.ToLower(field), line),
		lines("a forged field that is 64 KiB too long", false, line+strings.Repeat(" ", 64<<10)+"x"),
		{"a forged trailer", func(x5t string) string {
			return request(x5t, "Transfer-Encoding: chunked", "Trailer: "+field, "TE: trailers") +
				"1\r\na\r\n0\r\n" + line + "\r\n\r\n"
		}, false},
		{"a forged field in HTTP/1.0", func(x5t string) string {
			return strings.Replace(request(x5t, line), "HTTP/1.1", "HTTP/1.0", 1)
		}, false},
	}
}

func TestAForgedFieldNeverChangesADecision(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		require.Equal(t, 200, s.client(s.right).get(t, s.right.x5t()).status)
		require.Len(t, s.service.forwarded(), 1)
		victims := s.service.forwarded()[0]
		for _, who := range []struct {
			name string
			own  *identity
			want int
		}{
			{"no certificate", nil, 401},
			{"a wrong certificate", s.wrong, 401},
			{"a self-signed certificate", s.selfSigned, 401},
			{"the right certificate", s.right, 200},
		} {
			for _, f := range forgeries(s.header, victims) {
				t.Run(who.name+" and "+f.name, func(t *testing.T) {
					before := s.service.passed.Load()
					got, err := s.client(who.own).try(f.raw(s.right.x5t()))
					if who.want == 401 {
						require.Equal(t, before, s.service.passed.Load(), "the forgery has reached the handler")
					}
					if f.plain && !s.mistake {
						require.NoError(t, err)
						require.Equal(t, reply{status: who.want, reached: true}, got)
					}
				})
			}
		}
	})
}

func TestAFieldInConnectionFailsClosed(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		if s.mistake {
			t.Skip("not recommended")
		}
		got := s.client(s.right).get(t, s.right.x5t(), "Connection: "+s.header)
		if s.hopByHop {
			require.Equal(t, reply{status: 401, reached: true}, got, "the terminator takes its own field away")
			require.Empty(t, s.service.forwarded())
		} else {
			require.Equal(t, reply{status: 200, reached: true}, got)
		}
	})
}

func TestHTTP2(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		require.Equal(t, 200, s.client(s.right).get(t, s.right.x5t()).status)
		victims := s.service.forwarded()[0]
		get := func(own *identity, values ...string) int {
			transport := &http.Transport{
				ForceAttemptHTTP2: true,
				TLSClientConfig: &tls.Config{ServerName: "api.example", RootCAs: s.roots,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.tls(), nil }},
			}
			defer transport.CloseIdleConnections()
			r, err := http.NewRequest(http.MethodGet, "https://"+s.address+"/orders", nil)
			require.NoError(t, err)
			r.Host = "api.example"
			r.Header.Set("Authorization", "Bearer "+s.right.x5t())
			r.Header[s.header] = values
			resp, err := transport.RoundTrip(r)
			require.NoError(t, err)
			resp.Body.Close()
			if resp.ProtoMajor != 2 {
				t.Skip("the recommended configuration does not offer HTTP/2")
			}
			return resp.StatusCode
		}
		require.Equal(t, 200, get(s.right))
		require.Equal(t, 200, get(s.right, "nonsense"))
		for _, own := range []*identity{nil, s.wrong, s.selfSigned} {
			require.Equal(t, 401, get(own, victims))
			require.Equal(t, 401, get(own, victims, victims))
		}
	})
}

func TestOthersThanTheTerminatorAreNotBelieved(t *testing.T) {
	all := newCast(t)
	for _, c := range configurations() {
		t.Run(c.name, func(t *testing.T) {
			find(t, c.server)
			service := newService(t, c)
			s := &stage{cast: all, configuration: c, service: service, address: start(t, c, service.address(), all.site)}
			require.Equal(t, 200, s.client(s.right).get(t, s.right.x5t()).status)
			victims := service.forwarded()[0]

			from := func(ip string) int {
				transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext}
				defer transport.CloseIdleConnections()
				r, err := http.NewRequest(http.MethodGet, service.URL+"/orders", nil)
				require.NoError(t, err)
				r.Header.Set("Authorization", "Bearer "+s.right.x5t())
				r.Header.Set(s.header, victims)
				r.Header.Set("X-Forwarded-For", "127.0.0.1")
				resp, err := transport.RoundTrip(r)
				require.NoError(t, err)
				resp.Body.Close()
				return resp.StatusCode
			}
			require.Equal(t, 200, from("127.0.0.1"), "the request is one that the terminator might send")
			require.Equal(t, 401, from("127.0.0.2"))
		})
	}
}
