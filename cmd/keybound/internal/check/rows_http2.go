package check

import (
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// onlyHTTP2 begins the IDs of rows that no HTTP/1.1 request can try.
const onlyHTTP2 = "H2-"

// InHTTP1 reports whether the row with that ID can be tried in HTTP/1.1.
func InHTTP1(id string) bool { return !strings.HasPrefix(id, onlyHTTP2) }

func needsHTTP2(c *Config) string {
	if !c.Client.HTTP2 {
		return "only in HTTP/2"
	}
	return ""
}

// http2 are the rows about requests that exist in HTTP/2 alone: RFC 9113, section 8. A
// reset stream is a refusal, as is any answer but 2xx.
func (s *suite) http2() {
	stream := func(edit func(*wire.Stream)) func(*draft) {
		return func(d *draft) {
			d.onRequest(func(r *wire.Request) { r.Stream = append(r.Stream, edit) })
		}
	}
	// behind puts a field behind all others; rename gives one another name.
	behind := func(name, value string) func(*draft) {
		return stream(func(s *wire.Stream) { s.Fields = append(s.Fields, wire.Field{Name: name, Value: value}) })
	}
	set := func(name string, change func(string) string) func(*draft) {
		return stream(func(s *wire.Stream) {
			for i, f := range s.Fields {
				if f.Name == name {
					s.Fields[i].Value = change(f.Value)
				}
			}
		})
	}
	to := func(value string) func(string) string { return func(string) string { return value } }
	rename := func(from, to string) func(*draft) {
		return stream(func(s *wire.Stream) {
			for i := range s.Fields {
				if s.Fields[i].Name == from {
					s.Fields[i].Name = to
				}
			}
		})
	}
	twice := func(name string, first bool, value string) func(*draft) {
		return stream(func(s *wire.Stream) {
			i := slices.IndexFunc(s.Fields, func(f wire.Field) bool { return f.Name == name })
			if !first {
				i++
			}
			s.Fields = slices.Insert(s.Fields, i, wire.Field{Name: name, Value: value})
		})
	}
	text := func(id, section, sentence string, level Level, more ...func(*Config) string) text {
		return text{onlyHTTP2 + id, "RFC 9113, section " + section, level, sentence, all(append(more, needsHTTP2)...)}
	}

	s.accepted(text("01", "3.2", `Client and server "h2" by ALPN: the good request passes in HTTP/2 as in HTTP/1.1.`, Practice),
		variant{"good-request", func(*draft) {}})
	s.refused(text("8.2.1-01", "8.2.1", "A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or 0x7f-0xff (all ranges inclusive).", Must), anyRefusal,
		variant{"authorization-in-upper-case", rename("authorization", "Authorization")},
		variant{"another-name-in-upper-case", behind("X-Keybound", "1")},
		variant{"space-behind-the-name", rename("authorization", "authorization ")},
		variant{"line-end-in-the-name", rename("authorization", "x-keybound: 1\r\nauthorization")},
		variant{"beyond-ascii", behind("x-keybound\u00e9", "1")},
	)
	s.refused(text("8.2.1-01", "8.2.1", "A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or 0x7f-0xff (all ranges inclusive).", Must, needsDPoP), anyRefusal,
		variant{"proof-in-upper-case", rename("dpop", "DPoP")},
	)
	smuggled := func(d *draft) {
		stream(func(s *wire.Stream) {
			var hidden, kept []wire.Field
			for _, f := range s.Fields {
				if f.Name == "authorization" || f.Name == "dpop" {
					hidden = append(hidden, f)
				} else {
					kept = append(kept, f)
				}
			}
			value := "1"
			for _, f := range hidden {
				value += "\r\n" + f.Name + ": " + f.Value
			}
			s.Fields = append(kept, wire.Field{Name: "x-keybound", Value: value})
		})(d)
	}
	s.refused(text("8.2.1-02", "8.2.1", "A field value MUST NOT contain the zero value (ASCII NUL, 0x00), line feed (ASCII LF, 0x0a), or carriage return (ASCII CR, 0x0d) at any position.", Must), anyRefusal,
		variant{"credentials-behind-a-line-end", smuggled},
		variant{"line-feed", behind("x-keybound", "a\nb")},
		variant{"carriage-return", behind("x-keybound", "a\rb")},
		variant{"null-byte", behind("x-keybound", "a\x00b")},
	)
	s.refused(text("8.2.2-01", "8.2.2", "Any message containing connection-specific header fields MUST be treated as malformed.", Must), anyRefusal,
		variant{"connection", behind("connection", "authorization")},
		variant{"proxy-connection", behind("proxy-connection", "keep-alive")},
		variant{"keep-alive", behind("keep-alive", "timeout=5")},
		variant{"transfer-encoding", behind("transfer-encoding", "chunked")},
		variant{"upgrade", behind("upgrade", "h2c")},
		variant{"te-gzip", behind("te", "gzip")},
	)
	s.refused(text("8.3-01", "8.3", "The same pseudo-header field name MUST NOT appear more than once in a field block.", Must), anyRefusal,
		variant{"method-twice", twice(":method", false, "GET")},
		variant{"other-method-first", twice(":method", true, "POST")},
		variant{"path-twice", twice(":path", false, "/keybound-other")},
		variant{"other-path-first", twice(":path", true, "/keybound-other")},
		variant{"scheme-twice", twice(":scheme", false, "http")},
		variant{"authority-twice", twice(":authority", false, "evil.example")},
		variant{"other-authority-first", twice(":authority", true, "evil.example")},
	)
	s.refused(text("8.3-02", "8.3", "Endpoints MUST treat a request or response that contains undefined or invalid pseudo-header fields as malformed.", Must), anyRefusal,
		variant{"undefined", func(d *draft) {
			stream(func(s *wire.Stream) { s.Set(":keybound", "1") })(d)
		}},
		variant{"status-in-a-request", func(d *draft) {
			stream(func(s *wire.Stream) { s.Set(":status", "200") })(d)
		}},
		variant{"authorization-as-one", func(d *draft) {
			rename("authorization", ":authorization")(d)
		}},
	)
	s.refused(text("8.3-03", "8.3", "Any request or response that contains a pseudo-header field that appears in a field block after a regular field line MUST be treated as malformed.", Must), anyRefusal,
		variant{"path-behind-a-field", stream(func(s *wire.Stream) {
			i := slices.IndexFunc(s.Fields, func(f wire.Field) bool { return f.Name == ":path" })
			path := s.Fields[i]
			s.Fields = append(slices.Delete(s.Fields, i, i+1), path)
		})},
		variant{"second-path-behind-a-field", behind(":path", "/keybound-other")},
	)
	omit := func(name string) func(*draft) {
		return stream(func(s *wire.Stream) {
			s.Fields = slices.DeleteFunc(s.Fields, func(f wire.Field) bool { return f.Name == name })
		})
	}
	s.refused(text("8.3.1-01", "8.3.1", `All HTTP/2 requests MUST include exactly one valid value for the ":method", ":scheme", and ":path" pseudo-header fields, unless they are CONNECT requests.`, Must), anyRefusal,
		variant{"no-method", omit(":method")},
		variant{"no-scheme", omit(":scheme")},
		variant{"no-path", omit(":path")},
		variant{"empty-path", set(":path", to(""))},
		variant{"path-of-absolute-form", set(":path", func(path string) string { return "https://evil.example" + path })},
		variant{"path-with-a-line-end", set(":path", func(path string) string { return path + " HTTP/1.1\r\nx-keybound: 1" })},
		variant{"method-with-a-line-end", set(":method", func(m string) string { return m + " / HTTP/1.1\r\nx-keybound: 1\r\n\r\n" + m })},
		variant{"method-with-a-space", set(":method", func(m string) string { return m + " /keybound-other" })},
	)
	s.refused(text("8.3.1-02", "8.3.1", `A server SHOULD treat a request as malformed if it contains a Host header field that identifies an entity that differs from the entity in the ":authority" pseudo-header field.`, Should), anyRefusal,
		variant{"other-authority-than-host", func(d *draft) {
			stream(func(s *wire.Stream) {
				i := slices.IndexFunc(s.Fields, func(f wire.Field) bool { return f.Name == ":authority" })
				s.Fields = append(s.Fields, wire.Field{Name: "host", Value: s.Fields[i].Value})
				s.Fields[i].Value = "evil.example"
			})(d)
		}},
	)
	s.refused(text("8.3.1-03", "8.3.1", `The recipient of an HTTP/2 request MUST NOT use the Host header field to determine the target URI if ":authority" is present.`, Must, needsDPoP), anyRefusal,
		variant{"proof-for-the-host-field", both(behind("host", "evil.example"), func(d *draft) {
			d.onProof(func(j *jwt) {
				htu, _ := j.claims["htu"].(string)
				scheme, rest, _ := strings.Cut(htu, "://")
				_, path, _ := strings.Cut(rest, "/")
				j.claims["htu"] = scheme + "://evil.example/" + path
			})
		})})
	s.refused(text("8.3.1-04", "8.3.1", `":authority" MUST NOT include the deprecated userinfo subcomponent for "http" or "https" schemed URIs.`, Must), anyRefusal,
		variant{"userinfo", set(":authority", func(a string) string { return "keybound@" + a })})

	connect := func(extended bool, protocol string) func(*draft) {
		return stream(func(s *wire.Stream) {
			s.Open = true
			kept := s.Fields[:0]
			for _, f := range s.Fields {
				switch {
				case f.Name == ":method":
					f.Value = "CONNECT"
				case !extended && (f.Name == ":scheme" || f.Name == ":path"):
					continue
				}
				kept = append(kept, f)
			}
			s.Fields = kept
			if extended {
				s.Set(":protocol", protocol)
			}
		})
	}
	nothing := func(d *draft) { d.noToken, d.noProof = true, true }
	s.refused(text("8.5-01", "8.5; RFC 8441, section 4", "CONNECT opens a tunnel: without credentials, or with a proof for another method, it must open none past the guard.", Practice), anyRefusal,
		variant{"connect-without-credentials", both(nothing, connect(false, ""))},
		variant{"websocket-without-credentials", both(nothing, connect(true, "websocket"))},
		variant{"h2c-without-credentials", both(nothing, connect(true, "h2c"))},
		variant{"any-protocol-without-credentials", both(nothing, connect(true, "keybound"))},
	)
	s.refused(text("8.5-01", "8.5; RFC 8441, section 4", "CONNECT opens a tunnel: without credentials, or with a proof for another method, it must open none past the guard.", Practice, needsDPoP), anyRefusal,
		variant{"connect-with-a-proof-for-get", connect(false, "")},
		variant{"websocket-with-a-proof-for-get", connect(true, "websocket")},
	)
	s.refused(text("8.1-01", "8.1; RFC 9110, section 6.5.1", "Trailer fields are not merged into the header section: credentials in them do not count.", Must), anyRefusal,
		variant{"credentials-in-the-trailer", func(d *draft) {
			d.method = "POST"
			stream(func(s *wire.Stream) {
				var kept []wire.Field
				for _, f := range s.Fields {
					if f.Name == "authorization" || f.Name == "dpop" {
						s.Trailers = append(s.Trailers, f)
					} else {
						kept = append(kept, f)
					}
				}
				s.Fields, s.Body = append(kept, wire.Field{Name: "trailer", Value: "authorization, dpop"}), "x"
			})(d)
		}})
	s.connections(text)
}

// connections are the rows about several streams of one connection.
func (s *suite) connections(text func(id, section, sentence string, level Level, more ...func(*Config) string) text) {
	send := func(p *play, first, second *draft, atOnce bool) (*wire.Response, *wire.Response) {
		conn, err := p.Client.Connect(p.ctx, first.cert)
		if err != nil {
			p.skip("no connection: %v", err)
		}
		defer conn.Close()
		var streams []wire.Stream
		for _, d := range []*draft{first, second} {
			stream, err := p.Client.Stream(p.build(d))
			if err != nil {
				p.skip("%v", err)
			}
			streams = append(streams, stream)
		}
		if atOnce {
			both := conn.Send(streams...)
			return both[0], both[1]
		}
		return conn.Send(streams[0])[0], conn.Send(streams[1])[0]
	}
	s.add(text("9.1-01", "8; RFC 9110, section 3.3", "HTTP is defined as a stateless protocol, meaning that each request message's semantics can be understood in isolation: what one stream proves holds for no other.", Must),
		"no-credentials-on-the-connection-of-a-good-request", func(p *play) {
			bare := p.draft()
			bare.noToken, bare.noProof = true, true
			good, res := send(p, p.draft(), bare, false)
			p.accept(good)
			p.refuse(res, anyRefusal)
		})
	s.add(text("9.1-01", "8; RFC 9110, section 3.3", "HTTP is defined as a stateless protocol, meaning that each request message's semantics can be understood in isolation: what one stream proves holds for no other.", Must, needsDPoP),
		"no-proof-on-the-connection-of-a-good-request", func(p *play) {
			first := p.draft()
			second := *first
			second.noProof = true
			good, res := send(p, first, &second, false)
			p.accept(good)
			p.refuse(res, anyRefusal)
		})
	s.add(text("11.1-01", "5; RFC 9449, section 11.1", "HTTP requests to the same URI for which the jti value has been seen before would be declined: also on two streams at once.", May, needsDPoP),
		"one-proof-on-two-streams-at-once", func(p *play) {
			first := p.draft()
			p.build(first)
			second := *first
			a, b := send(p, first, &second, true)
			if (a.Status/100 == 2) == (b.Status/100 == 2) {
				panic(outcome{status: Failed, reason: "one proof on two streams: " + answerText(a) + "; " + answerText(b), accepted: a.Status/100 == 2})
			}
		})
}
