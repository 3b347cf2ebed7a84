package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

func (p *program) dpop(o *kongfile.OpenIDConnect) string {
	p.ours("dpop")
	opts := []string{p.text(p.d.origins[0])}
	add := func(format string, args ...any) { opts = append(opts, fmt.Sprintf("dpop."+format, args...)) }
	if len(p.d.origins) > 1 {
		add("WithOrigins(%s)", p.texts(p.d.origins[1:]))
	}
	if len(p.d.internalHosts) > 0 {
		add("WithInternalHosts(%s)", p.texts(p.d.internalHosts))
	}
	if o.Proof.Lifetime > 0 {
		add("WithLifetime(%s)", p.time(o.Proof.Lifetime))
	}
	if o.Proof.Nonces {
		add("WithNonces(dpop.NewNonces([]byte(%s)))", p.secret("", "NONCE_KEY"))
		p.needs = append(p.needs, "NONCE_KEY in its environment: 32 random bytes or more, the same for all replicas")
	}
	if o.Redis != nil {
		p.ours("redisstore")
		p.imports["github.com/redis/go-redis/v9"] = true
		add("WithReplayCache(redisstore.NewReplayCache(%s))", p.redis(o.Redis))
	}
	return "middleware.WithDPoP(" + call("dpop.New", opts...) + ")"
}

func (p *program) redis(r *kongfile.Redis) string {
	fields := []string{"Addr: " + p.text(r.Addresses[0])}
	kind := "Client(&redis.Options"
	if r.Cluster {
		kind, fields = "ClusterClient(&redis.ClusterOptions", []string{"Addrs: []string{" + p.texts(r.Addresses) + "}"}
	}
	if r.Username != "" {
		fields = append(fields, "Username: "+p.text(r.Username))
	}
	if r.Password != "" {
		fields = append(fields, "Password: "+p.secret(r.Password, "REDIS_PASSWORD"))
	}
	if r.Database != 0 {
		fields = append(fields, "DB: "+strconv.Itoa(r.Database))
	}
	if r.TLS {
		p.std("crypto/tls")
		fields = append(fields, "TLSConfig: &tls.Config{ServerName: "+p.text(r.ServerName)+"}")
	}
	fields = append(fields, "ContextTimeoutEnabled: true")
	return "redis.New" + kind + "{" + strings.Join(fields, ", ") + "})"
}

func (p *program) mtls(o *kongfile.OpenIDConnect) string {
	p.ours("mtlspop")
	var opts []string
	var chain *kongfile.Chain
	switch {
	case o.Certificate.Header != nil:
		format := "PEM"
		if o.Certificate.Header.Format == "base64_encoded" {
			format = "DER"
		}
		p.std("net/netip")
		args := []string{strconv.Quote(o.Certificate.Header.Field), "mtlspop." + format}
		for _, prefix := range p.d.trusted {
			args = append(args, fmt.Sprintf("netip.MustParsePrefix(%q)", prefix))
		}
		opts = append(opts, call("mtlspop.WithForwardedCertificate", args...))
		chain = &o.Certificate.Header.Chain
	case o.Certificate.Chain != nil:
		chain = &o.Certificate.Chain.Chain
	}
	if chain != nil {
		p.std("crypto/x509")
		p.std("os")
		p.needs = append(p.needs, "client-ca.pem, the CAs of ca_certificates")
		roots := p.variable("roots")
		p.say("%s := x509.NewCertPool()", roots)
		p.say("%s.AppendCertsFromPEM(must(os.ReadFile(\"client-ca.pem\")))", roots)
		opts = append(opts, "mtlspop.WithRoots("+roots+")")
		if chain.PartialChains {
			opts = append(opts, "mtlspop.AllowPartialChains()")
		}
		if chain.Revocation != "SKIP" {
			p.ours("mtlspop/revocation")
			var how []string
			if chain.Revocation == "IGNORE_CA_ERROR" {
				how = append(how, "revocation.DangerouslyPassUnknown()")
			}
			if chain.CacheTTL > 0 {
				how = append(how, "revocation.WithAnswerLifetime("+p.time(chain.CacheTTL)+")")
			}
			if chain.FetchTimeout > 0 {
				how = append(how, "revocation.WithTimeout("+p.time(chain.FetchTimeout)+")")
			}
			opts = append(opts, "mtlspop.WithRevocation("+call("revocation.New", how...)+")")
		}
	}
	return "middleware.WithMTLS(" + call("mtlspop.New", opts...) + ")"
}
