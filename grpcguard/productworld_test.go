package grpcguard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/internal/oracle"
	pt "github.com/keybound-go/middleware/internal/producttest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

const callID = "x-call" // metadata by which the server finds what the call is

// wires are the connections of a World: to two real servers, with TLS and without it.
type wires struct {
	w     *pt.World
	t     *testing.T
	ca    *mtlspoptest.CA
	conns map[connKey]*grpc.ClientConn
	calls sync.Map // *pending by ID
	count atomic.Uint64
}

// wiresOf are those of each World.
var wiresOf sync.Map

// pending is one call on its way, and the guards that it is for.
type pending struct {
	s      *pt.Situation
	guards []*grpcguard.Server
}

type connKey struct {
	plain, proxy bool
	host         string
	cert         oracle.Cert // of the connection
}

// listener accepts connections of a peer at an address of its own.
type listener struct {
	*bufconn.Listener
	from string
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return connection{c, l.from}, err
}

type connection struct {
	net.Conn
	from string
}

func (c connection) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}

func (c connection) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.9.9.9:443"))
}

// serve starts the servers of w and connects to them in every way that a Combo can ask
// for.
func serve(t *testing.T, w *pt.World) {
	p := &wires{w: w, t: t, ca: mtlspoptest.NewCA(t, "Servers"), conns: make(map[connKey]*grpc.ClientConn)}
	wiresOf.Store(w, p)
	t.Cleanup(func() { wiresOf.Delete(w) })
	identity := p.ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{pt.Host, pt.OtherHost, pt.TenantHost, pt.StrangeHost}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	secure := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{identity.TLS()}, ClientAuth: tls.RequestClientCert})
	for _, plain := range []bool{false, true} {
		creds := secure
		if plain {
			creds = insecure.NewCredentials()
		}
		// A target with a query names no method of the service.
		server := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(p.unary), grpc.StreamInterceptor(p.stream),
			grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { handle(s.Context()); return nil }))
		pb.RegisterTestServiceServer(server, &service{
			unary:  func(ctx context.Context) error { handle(ctx); return nil },
			stream: func(s pb.TestService_FullDuplexCallServer) error { handle(s.Context()); return nil },
		})
		t.Cleanup(server.Stop)
		for _, proxy := range []bool{false, true} {
			from := pt.PeerAddr
			if proxy {
				from = pt.ProxyAddr
			}
			l := listener{bufconn.Listen(256 << 10), from}
			go func() { _ = server.Serve(l) }()
			for _, host := range identity.Certificate.DNSNames {
				for _, cert := range []oracle.Cert{oracle.NoCert, oracle.RightTLS, oracle.WrongTLS} {
					p.connect(connKey{plain, proxy, host, cert}, l)
				}
			}
		}
	}
}

func (p *wires) connect(k connKey, l listener) {
	config := &tls.Config{RootCAs: p.ca.Pool()}
	switch k.cert {
	case oracle.RightTLS:
		config.Certificates = []tls.Certificate{p.w.Right().TLS()}
	case oracle.WrongTLS:
		config.Certificates = []tls.Certificate{p.w.Wrong().TLS()}
	}
	creds := credentials.NewTLS(config)
	if k.plain {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(creds), grpc.WithAuthority(k.host),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { conn.Close() })
	p.conns[k] = conn
}

// find returns the call that ctx belongs to, and ctx with its situation.
func (p *wires) find(ctx context.Context) (context.Context, *pending) {
	found, _ := p.calls.Load(metadata.ValueFromIncomingContext(ctx, callID)[0])
	c := found.(*pending)
	return pt.WithSituation(ctx, c.s), c
}

func (p *wires) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, c := p.find(ctx)
	for i := len(c.guards) - 1; i > 0; i-- {
		next := handler
		handler = func(ctx context.Context, req any) (any, error) { return c.guards[i].Unary(ctx, req, info, next) }
	}
	return c.guards[0].Unary(ctx, req, info, handler)
}

func (p *wires) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, c := p.find(ss.Context())
	for i := len(c.guards) - 1; i > 0; i-- {
		next := handler
		handler = func(srv any, ss grpc.ServerStream) error { return c.guards[i].Stream(srv, ss, info, next) }
	}
	return c.guards[0].Stream(srv, contextStream{ss, ctx}, info, handler)
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }

// handle is the handler behind all guards.
func handle(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	pt.SituationOf(ctx).See(ctx, fieldsOf(md))
}

func fieldsOf(md metadata.MD) http.Header {
	h := make(http.Header, len(md))
	for key, values := range md {
		h[http.CanonicalHeaderKey(key)] = values
	}
	return h
}

// openCalls puts the guards before the servers.
func openCalls(w *pt.World, guards []*middleware.Guard) func(*http.Request, *pt.Situation) oracle.Verdict {
	found, _ := wiresOf.Load(w)
	p := found.(*wires)
	var servers []*grpcguard.Server
	for _, g := range guards {
		s, err := grpcguard.New(g)
		if err != nil {
			panic(err) // a test's goroutine cannot end the test
		}
		servers = append(servers, s)
	}
	return func(r *http.Request, s *pt.Situation) oracle.Verdict { return p.send(r, s, servers) }
}

// send makes the call that r describes and returns what came of it.
func (p *wires) send(r *http.Request, s *pt.Situation, guards []*grpcguard.Server) oracle.Verdict {
	id := strconv.FormatUint(p.count.Add(1), 10)
	p.calls.Store(id, &pending{s, guards})
	defer p.calls.Delete(id)
	md := metadata.MD{}
	for name, values := range r.Header {
		md[strings.ToLower(name)] = values
	}
	md.Set(callID, id)
	if s.Request.Early {
		md["early-data"] = []string{"1"} // TLS of Go has none
	}
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(context.Background(), md), time.Minute)
	defer cancel()
	conn := p.conns[connOf(s.Request, r.Host)]
	var header, trailer metadata.MD
	var err error
	unary := r.URL.Path == unaryCall
	if unary {
		err = conn.Invoke(ctx, r.RequestURI, new(pb.SimpleRequest), new(pb.SimpleResponse), grpc.Header(&header), grpc.Trailer(&trailer))
		if s.Ran && s.Request.Query { // whose handler is that of an unknown service, and answers nothing
			err = nil
		}
	} else {
		header, err = sendStream(ctx, conn, r.RequestURI)
	}
	return p.observe(s, err, header, trailer, unary && !s.Request.Query)
}

func connOf(q oracle.Request, host string) connKey {
	k := connKey{plain: q.Plain, proxy: q.Cert >= oracle.RightHeader, host: host}
	switch q.Cert {
	case oracle.RightTLS, oracle.ProxyOwn:
		k.cert = oracle.RightTLS
	case oracle.WrongTLS:
		k.cert = oracle.WrongTLS
	}
	return k
}

// observe is what the client, the operator and the handler have seen, in the words of the
// oracle, and what is wrong with it whatever the oracle says.
func (p *wires) observe(s *pt.Situation, err error, header, trailer metadata.MD, unary bool) oracle.Verdict {
	code := s.Outcome.Status
	want := map[int]codes.Code{
		400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 425: codes.Unavailable, 431: codes.InvalidArgument, 503: codes.Unavailable,
	}[code]
	if s.Ran {
		code, want = http.StatusOK, codes.OK
	}
	if status.Code(err) != want {
		s.Problem("the status is %v, for %d", err, code)
	}
	h := fieldsOf(header)
	if cache := h["Cache-Control"]; len(cache) > 1 && slices.Contains(cache, "no-store") {
		h["Cache-Control"] = []string{"no-store"} // which outweighs what an outer guard has said
	}
	v := p.w.Observe(&pt.Response{Fields: h, Status: code}, s)
	answer := fmt.Sprint(trailer, err)
	for _, secret := range p.w.Secrets(s) {
		if secret != "" && strings.Contains(answer, secret) {
			s.Problem("a secret in the status or the trailer")
		}
	}
	if unary { // Clients that show only the trailer of a failed call find the same there.
		for _, key := range []string{"www-authenticate", "dpop-nonce"} {
			if fmt.Sprint(trailer[key]) != fmt.Sprint(header[key]) {
				s.Problem("the trailer has another %s than the header", key)
			}
		}
	}
	told := ""
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			told = info.Metadata["error"]
		}
	}
	named := v.DPoP
	if named == "" || named == "bare" {
		named = v.Bearer
	}
	if named == "bare" {
		named = ""
	}
	if told != named {
		s.Problem("the details of the status say %q, the challenges %q", told, named)
	}
	return v
}
