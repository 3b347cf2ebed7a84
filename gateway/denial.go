package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/gateway/kongfile"
)

// denial writes the body of a refusal in Kong's form.
func denial(p *kongfile.OpenIDConnect) func(http.ResponseWriter, *http.Request, middleware.Denial) {
	return func(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
		message := http.StatusText(d.Status)
		switch d.Status {
		case http.StatusUnauthorized:
			message = p.Unauthorized
		case http.StatusForbidden:
			message = p.ForbiddenText
		}
		body := map[string]string{"message": message}
		if p.DisplayErrors && d.Code != "" {
			body["error"], body["error_description"] = d.Code, d.Description
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(d.Status)
		if r.Method != http.MethodHead {
			_ = json.NewEncoder(w).Encode(body) // the client went away
		}
	}
}

// trip is one request on its way through the gateway.
type trip struct {
	route  *kongfile.Route
	path   string // normal
	prefix string // of path, by which the route was found
	remote string
	method string
	client *http.ResponseController // of the response
}

type tripKey struct{}

func tripOf(ctx context.Context) *trip {
	t, _ := ctx.Value(tripKey{}).(*trip)
	return t
}

// observe writes one line for each refusal, with the keys of a guard's log line and the
// route. An Outcome holds neither token, proof nor secret; the path is without its query.
func (d *deployment) observe(ctx context.Context, o middleware.Outcome) {
	if o.Err == nil {
		if o.UntrustedForward {
			d.log.WarnContext(ctx, "a certificate header from a peer that is not trusted was ignored", d.request(ctx)...)
		}
		return
	}
	var attrs []slog.Attr
	if t := tripOf(ctx); t != nil {
		attrs = append(attrs, slog.String("route", t.route.String()))
		o.Path = t.path // as it was routed
	}
	o.Hint = hintOf(o)
	attrs = append(attrs, o.LogValue().Group()...)
	level := slog.LevelInfo
	switch {
	case o.Status >= 500 && ctx.Err() != nil:
		level = slog.LevelDebug // the client went away
	case o.Status >= 500:
		level = slog.LevelError
	}
	d.log.LogAttrs(ctx, level, "request refused", attrs...)
}

// request says which request it is about.
func (d *deployment) request(ctx context.Context) []any {
	t := tripOf(ctx)
	if t == nil {
		return nil
	}
	return []any{"method", t.method, "path", t.path, "route", t.route.String(), "remote", t.remote}
}

func (d *deployment) observeRevocation(ctx context.Context, cert *x509.Certificate, err error) {
	d.log.WarnContext(ctx, "the status of a client certificate could not be learned", "serial", cert.SerialNumber.Text(16), "error", err.Error())
}
