package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keybound-go/middleware/mtlspop"
)

func TestDoctorFindsWhatOnlyHTTP2Shows(t *testing.T) {
	// only runs f for requests over HTTP/2.
	only := func(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) setUp {
		return setUp{http2: true, inFront: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					next.ServeHTTP(w, r)
					return
				}
				f(w, r, next)
			})
		}}
	}
	t.Run("a terminator that passes the field on over HTTP/2", func(t *testing.T) {
		s := setUp{http2: true, field: "X-Client-Cert", format: mtlspop.PEM, encode: escaped, terminate: func(h http.Header, field, value string, present bool) {
			if present || h.Get("Keybound-Version") != "2" {
				replace(h, field, value, present)
			}
		}}
		s.inFront = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Keybound-Version", strconv.Itoa(r.ProtoMajor))
				next.ServeHTTP(w, r)
			})
		}
		found := s.start(t).diagnose(t)
		require.Contains(t, found["forged-certificate/X-Client-Cert@h2"], "over HTTP/2: the service believes")
		require.Contains(t, found["forged-certificate/X-Client-Cert@h2"], "nginx: put proxy_set_header")
		require.Len(t, found, 1)
		require.Empty(t, s.start(t).diagnose(t, "--http", "1.1"))
		require.Contains(t, s.start(t).diagnose(t, "--http", "2"), "forged-certificate/X-Client-Cert")
	})
	t.Run("CONNECT is answered", func(t *testing.T) {
		found := only(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != http.MethodConnect {
				next.ServeHTTP(w, r)
			}
		}).start(t).diagnose(t)
		require.Contains(t, found["http2/connect"], "Let the terminator refuse CONNECT")
		require.Len(t, found, 1)
	})
	t.Run("Host counts and not :authority", func(t *testing.T) {
		found := only(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if host := r.Header.Get("Host"); host != "" {
				r.Host = host
				r.Header.Del("Host")
			}
			next.ServeHTTP(w, r)
		}).start(t).diagnose(t)
		require.Contains(t, found["http2/authority"], "proxy_set_header Host $host")
		require.Len(t, found, 1)
	})
	t.Run("another service stands behind HTTP/2", func(t *testing.T) {
		found := only(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusBadGateway)
		}).start(t).diagnose(t)
		require.Contains(t, found["good-request/dpop@h2"], "over HTTP/2: the good request is refused: 502")
		require.Contains(t, found["challenge@h2"], "not 401")
	})
	t.Run("a terminator that writes HTTP/2 into HTTP/1.1 as it is", func(t *testing.T) {
		found := setUp{h2: naive}.start(t).diagnose(t)
		require.Contains(t, found["http2/line-ends"], "it must refuse fields with CR, LF or NUL")
		require.Contains(t, found["http2/method"], "it must refuse methods that are no token")
	})
}

// naive stands in for a terminator that writes what comes in HTTP/2 into HTTP/1.1 without
// a look at it.
func naive(_ *http.Server, conn *tls.Conn, next http.Handler) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = nil // which would look at it
	if framer.WriteSettings() != nil {
		return
	}
	decoder := hpack.NewDecoder(4096, nil)
	for block := []byte(nil); ; {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		ended := false
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			block, ended = append([]byte(nil), f.HeaderBlockFragment()...), f.HeadersEnded()
		case *http2.ContinuationFrame:
			block, ended = append(block, f.HeaderBlockFragment()...), f.HeadersEnded()
		}
		if !ended {
			continue
		}
		fields, err := decoder.DecodeFull(block)
		if err != nil || pass(framer, frame.Header().StreamID, conn, fields, next) != nil {
			return
		}
	}
}

// pass makes one request of HTTP/1.1, and a response of HTTP/2.
func pass(framer *http2.Framer, stream uint32, conn *tls.Conn, fields []hpack.HeaderField, next http.Handler) error {
	pseudo := make(map[string]string)
	var rest strings.Builder
	for _, f := range fields {
		if strings.HasPrefix(f.Name, ":") {
			pseudo[f.Name] = f.Value
			continue
		}
		rest.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	// A space in the method makes the target end early, where the reader stops at the second.
	line := pseudo[":method"] + " " + pseudo[":path"]
	line = strings.Join(strings.SplitN(line, " ", 3)[:2], " ")
	w := httptest.NewRecorder()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + " HTTP/1.1\r\nHost: " + pseudo[":authority"] + "\r\n" + rest.String() + "\r\n")))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
	} else {
		state := conn.ConnectionState()
		r.TLS, r.RemoteAddr = &state, conn.RemoteAddr().String()
		next.ServeHTTP(w, r)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	if err := encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(w.Code)}); err != nil {
		return err
	}
	for name, values := range w.Result().Header {
		for _, v := range values {
			if err := encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(name), Value: v}); err != nil {
				return err
			}
		}
	}
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
}
