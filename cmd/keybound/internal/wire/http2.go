package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ErrNoHTTP2 says that the server does not offer HTTP/2 over TLS.
var ErrNoHTTP2 = errors.New("wire: the server does not offer HTTP/2")

// OnlyHTTP1Error says that a request cannot be written in HTTP/2.
type OnlyHTTP1Error struct{ Why string }

func (e *OnlyHTTP1Error) Error() string { return "wire: only in HTTP/1.1: " + e.Why }

// Stream is one HTTP/2 request. Fields go out in order and as they are, pseudo-fields
// among them, so that a request can be malformed in every way.
type Stream struct {
	Fields   []Field
	Body     string
	Trailers []Field
	// Open leaves the stream open for the client, and takes the head of the response for
	// the whole: for CONNECT.
	Open bool
}

// Set replaces the first field of that name, or puts a new one in front.
func (s *Stream) Set(name, value string) {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			s.Fields[i].Value = value
			return
		}
	}
	s.Fields = slices.Insert(s.Fields, 0, Field{name, value})
}

// Over2 returns the client of the same origin that speaks HTTP/2: over TLS as ALPN
// agrees it (RFC 9113, section 3.2), over plain TCP with prior knowledge (section 3.3).
func (c *Client) Over2() *Client {
	two := *c
	two.HTTP2, two.TLS = true, c.TLS.Clone()
	two.TLS.NextProtos = []string{"h2"}
	return &two
}

// OffersHTTP2 reports whether the server chooses HTTP/2 over HTTP/1.1 by ALPN. Over
// plain TCP it asks nothing, and reports false.
func (c *Client) OffersHTTP2(ctx context.Context, cert *tls.Certificate) (bool, error) {
	if c.Scheme == "http" {
		return false, nil
	}
	either := *c
	either.TLS = c.TLS.Clone()
	either.TLS.NextProtos = []string{"h2", "http/1.1"}
	conn, err := either.Open(ctx, cert)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2", nil
}

// connectionFields are those that HTTP/2 does not have (RFC 9113, section 8.2.2).
var connectionFields = []string{"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings"}

// Stream is r in HTTP/2. The error is an *OnlyHTTP1Error.
func (c *Client) Stream(r Request) (Stream, error) {
	if !strings.HasPrefix(r.Target, "/") && !(r.Target == "*" && r.Method == http.MethodOptions) {
		return Stream{}, &OnlyHTTP1Error{"HTTP/2 sends scheme and authority apart from the path"}
	}
	authority, names := "", make(map[string]string)
	var fields []Field
	for _, f := range r.Fields {
		name := strings.ToLower(f.Name)
		before, twice := names[name]
		switch {
		case slices.Contains(connectionFields, name):
			return Stream{}, &OnlyHTTP1Error{"HTTP/2 has no field " + f.Name}
		case twice && before != f.Name:
			return Stream{}, &OnlyHTTP1Error{"in HTTP/2 the names of fields are in lower case"}
		case strings.TrimLeft(name, tchar) != "":
			return Stream{}, &OnlyHTTP1Error{"the name of a field is none"}
		case strings.Trim(f.Value, " \t") != f.Value || strings.ContainsAny(f.Value, "\r\n\x00"):
			return Stream{}, &OnlyHTTP1Error{"in HTTP/2 no white space surrounds the value of a field"}
		case name == "host" && twice:
			return Stream{}, &OnlyHTTP1Error{"in HTTP/2 the host is the pseudo-field :authority"}
		case name == "host":
			authority = f.Value
		default:
			fields = append(fields, Field{name, f.Value})
		}
		names[name] = f.Name
	}
	if _, given := names["host"]; !given {
		authority = c.Host
	}
	s := Stream{Body: r.Body, Fields: append([]Field{
		{":method", r.Method}, {":scheme", c.Scheme}, {":authority", authority}, {":path", r.Target},
	}, fields...)}
	for _, edit := range r.Stream {
		edit(&s)
	}
	return s, nil
}

func (c *Client) do2(ctx context.Context, cert *tls.Certificate, r Request) (*Response, error) {
	s, err := c.Stream(r)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	conn, err := c.Connect(ctx, cert)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	all := conn.Send(s)
	if all[0].Reset != nil {
		return nil, fmt.Errorf("wire: %w", all[0].Reset)
	}
	all[0].Duration = time.Since(start)
	return all[0], nil
}

// Conn is a connection that speaks HTTP/2. It is for one goroutine.
type Conn struct {
	// ExtendedCONNECT reports that the server lets a client ask for another protocol
	// (RFC 8441, section 3).
	ExtendedCONNECT bool

	conn   net.Conn
	framer *http2.Framer
	stop   func() bool
	block  bytes.Buffer
	encode *hpack.Encoder
	last   uint32
	limit  uint32 // of a frame that the server takes
}

// window is the flow-control window for each response, and for all of them.
const window = 2 * maxBody

// Connect opens a connection and exchanges settings. The caller closes it.
func (c *Client) Connect(ctx context.Context, cert *tls.Certificate) (*Conn, error) {
	raw, err := c.Open(ctx, cert)
	if err != nil {
		if strings.Contains(err.Error(), "no application protocol") {
			err = errors.Join(ErrNoHTTP2, err)
		}
		return nil, err
	}
	if secure, ok := raw.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol != "h2" {
		raw.Close()
		return nil, ErrNoHTTP2
	}
	conn := &Conn{conn: raw, framer: http2.NewFramer(raw, raw), limit: 16 << 10}
	conn.stop = context.AfterFunc(ctx, func() { raw.Close() })
	conn.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	conn.encode = hpack.NewEncoder(&conn.block)
	if err := conn.greet(time.Now().Add(c.Timeout)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("wire: HTTP/2: %w", err)
	}
	return conn, nil
}

// Close ends the connection.
func (c *Conn) Close() {
	c.stop()
	c.conn.Close()
}

func (c *Conn) greet(deadline time.Time) error {
	err := errors.Join(c.conn.SetDeadline(deadline),
		write(c.conn, http2.ClientPreface),
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}),
		c.framer.WriteWindowUpdate(0, 16*window))
	if err != nil {
		return err
	}
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		return errors.New("the server does not begin with its settings")
	}
	return c.settings(settings)
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

func (c *Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if v, ok := f.Value(http2.SettingEnableConnectProtocol); ok {
		c.ExtendedCONNECT = v == 1
	}
	return c.framer.WriteSettingsAck()
}

// Send sends streams at once and returns their responses in the same order, when all
// have come. A response whose stream the server has reset says so in Reset; so does
// every response without an answer on a connection that breaks.
func (c *Conn) Send(streams ...Stream) []*Response {
	waiting := make(map[uint32]*Response)
	var all []*Response
	var writeErr error // a server may answer before it has read all, and close
	for _, s := range streams {
		id, err := c.write(s)
		writeErr = errors.Join(writeErr, err)
		waiting[id] = &Response{open: s.Open}
		all = append(all, waiting[id])
	}
	for len(waiting) > 0 {
		if err := c.read(waiting); err != nil {
			for id, r := range waiting {
				r.Reset = fmt.Errorf("HTTP/2: %w", errors.Join(writeErr, err))
				delete(waiting, id)
			}
		}
	}
	for _, r := range all {
		// Too short a body changes nothing about the decision in the head.
		if r.Header != nil {
			r.Reset = nil
		}
	}
	return all
}

// write sends one stream.
func (c *Conn) write(s Stream) (id uint32, err error) {
	c.last += 2
	id = c.last - 1
	ends := s.Body == "" && len(s.Trailers) == 0 && !s.Open
	if err := c.headers(id, s.Fields, ends); err != nil || ends {
		return id, err
	}
	for body := s.Body; body != ""; {
		part := body[:min(len(body), int(c.limit))]
		body = body[len(part):]
		if err := c.framer.WriteData(id, body == "" && len(s.Trailers) == 0, []byte(part)); err != nil {
			return id, err
		}
	}
	if len(s.Trailers) > 0 {
		return id, c.headers(id, s.Trailers, true)
	}
	return id, nil
}

func (c *Conn) headers(id uint32, fields []Field, ends bool) error {
	c.block.Reset()
	for _, f := range fields {
		if err := c.encode.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			return err
		}
	}
	for first := true; first || c.block.Len() > 0; first = false {
		part := c.block.Next(int(c.limit))
		var err error
		if first {
			err = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndStream: ends, EndHeaders: c.block.Len() == 0})
		} else {
			err = c.framer.WriteContinuation(id, c.block.Len() == 0, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read handles one frame. The error ends the connection.
func (c *Conn) read(waiting map[uint32]*Response) error {
	frame, err := c.framer.ReadFrame()
	if stream := (http2.StreamError{}); errors.As(err, &stream) {
		if r := waiting[stream.StreamID]; r != nil {
			r.Reset = err
			delete(waiting, stream.StreamID)
		}
		return nil
	}
	if err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		for id, r := range waiting {
			if id > f.LastStreamID || f.ErrCode != http2.ErrCodeNo {
				r.Reset = fmt.Errorf("HTTP/2: the server ended the connection: %v", f.ErrCode)
				delete(waiting, id)
			}
		}
	case *http2.RSTStreamFrame:
		if r := waiting[f.StreamID]; r != nil {
			r.Reset = fmt.Errorf("HTTP/2: the server reset the stream: %v", f.ErrCode)
			delete(waiting, f.StreamID)
		}
	case *http2.MetaHeadersFrame:
		if r := waiting[f.StreamID]; r != nil {
			r.head(f)
			if f.StreamEnded() || r.open && r.Header != nil {
				delete(waiting, f.StreamID)
			}
		}
	case *http2.DataFrame:
		if r := waiting[f.StreamID]; r != nil {
			r.Body = append(r.Body, f.Data()...)
			if f.StreamEnded() || len(r.Body) >= maxBody {
				delete(waiting, f.StreamID)
			}
		}
	}
	return nil
}

// head takes a response's header section, or that of a 1xx response. Trailers are left.
func (r *Response) head(f *http2.MetaHeadersFrame) {
	if r.Header != nil {
		return
	}
	status, _ := strconv.Atoi(f.PseudoValue("status"))
	if status < 200 {
		r.Informational = append(r.Informational, status)
		return
	}
	r.Status, r.Header = status, make(http.Header)
	for _, field := range f.RegularFields() {
		r.Header.Add(field.Name, field.Value)
	}
}
