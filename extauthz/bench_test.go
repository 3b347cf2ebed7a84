package extauthz_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/stretchr/testify/require"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// bare is an ext_authz server that lets every request pass, with an answer of the size
// of the one that it is made like.
type bare struct {
	authv3.UnimplementedAuthorizationServer
	headers, removes int
}

func (s *bare) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	ok := new(authv3.OkHttpResponse)
	for range s.headers {
		ok.Headers = append(ok.Headers, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: "X-Auth-Outcome", Value: "pass"},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	for range s.removes {
		ok.HeadersToRemove = append(ok.HeadersToRemove, "X-Envoy-Peer-Certificate")
	}
	return &authv3.CheckResponse{Status: new(statuspb.Status), HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok}}, nil
}

// BenchmarkDoor compares Check with the guard alone and with a bare ext_authz server, in
// units of one raw signature verification of the same run (x-raw). The door costs what is
// left of "door" without "guard alone" and "bare server".
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	server, ctx := w.server(b), trusted(b)
	r := w.bound(request("GET", "/orders?page=2"), w.cert)
	for name, value := range map[string]string{
		"User-Agent": "client/1.0", "Accept": "application/json", "Accept-Encoding": "gzip", "X-Forwarded-For": "192.0.2.1",
		"X-Forwarded-Proto": "https", "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		r.Header.Set(name, value)
	}
	question := new(envoy).question(r, w.cert)
	q := middleware.RequestOf(r)
	q.Header = r.Header.Clone()
	q.Header.Set(extauthz.CertificateField, mtlspoptest.Nginx(w.cert))
	q.Header.Set("X-Request-Id", "1")
	q.RemoteAddr = "127.0.0.1:4567"
	answer, err := server.Check(ctx, question)
	require.NoError(b, err)
	ok := answer.GetOkResponse()
	require.NotNil(b, ok)
	plain := &bare{headers: len(ok.Headers) + len(ok.ResponseHeadersToAdd), removes: len(ok.HeadersToRemove)}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	hash := make([]byte, 32)
	signature, err := ecdsa.SignASN1(rand.Reader, key, hash)
	require.NoError(b, err)
	raw := func() bool { return ecdsa.VerifyASN1(&key.PublicKey, hash, signature) }

	for _, bench := range []struct {
		name string
		run  func() bool
	}{
		{"guard alone", func() bool { return w.guard.Judge(ctx, q).Pass }},
		{"bare server", func() bool { _, err := plain.Check(ctx, question); return err == nil }},
		{"door", func() bool { a, _ := server.Check(ctx, question); return a.GetOkResponse() != nil }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !bench.run() {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(ratio(bench.run, raw), "x-raw")
		})
	}
}

// ratio is the time of f over that of g: the median of many short measurements of both,
// side by side, since other processes of a busy machine interrupt some of them.
func ratio(f, g func() bool) float64 {
	ratios := make([]float64, 501)
	for i := range ratios {
		begun := time.Now()
		for range 20 {
			f()
		}
		between := time.Now()
		for range 20 {
			g()
		}
		ratios[i] = float64(between.Sub(begun)) / float64(time.Since(between))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
