package main

import (
	"cmp"
	"fmt"
	"go/format"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc"
)

// program is a Go program that does what a configuration says.
type program struct {
	d       *deployment
	f       *kongfile.File
	imports map[string]bool
	setup   strings.Builder // statements before the guards are used
	names   map[string]bool // of variables
	fromEnv map[string]string
	needs   []string // what the reader of the program has to provide
}

const module = "github.com/keybound-go/middleware"

// printGo writes the program for the plugins of f, which has no mistakes.
func (d *deployment) printGo(w io.Writer, f *kongfile.File, env map[string]string) error {
	p := &program{d: d, f: f, imports: map[string]bool{"log": true, "net/http": true, module: true}, names: make(map[string]bool), fromEnv: make(map[string]string)}
	for name, value := range env {
		if len(value) > 2 {
			p.fromEnv[value] = name
		}
	}
	routes := p.routes()
	var b strings.Builder
	b.WriteString("// Made by gateway print-go. The service reads its secrets from the environment.\n")
	for _, need := range p.needs {
		fmt.Fprintf(&b, "// It needs %s.\n", need)
	}
	b.WriteString("package main\n\nimport (\n")
	p.writeImports(&b)
	b.WriteString(")\n\nfunc main() {\n")
	b.WriteString(p.setup.String())
	b.WriteString(routes)
	p.writeServer(&b)
	b.WriteString("}\n\n// must ends the program if something cannot be made.\nfunc must[T any](made T, err error) T {\n\tif err != nil {\n\t\tlog.Fatal(err)\n\t}\n\treturn made\n}\n")
	text, err := format.Source([]byte(b.String()))
	if err != nil {
		return fmt.Errorf("gateway: print-go: %w\n%s", err, b.String())
	}
	_, err = w.Write(text)
	return err
}

func (p *program) writeImports(b *strings.Builder) {
	all := slices.Sorted(maps.Keys(p.imports))
	sort.SliceStable(all, func(i, j int) bool { return !strings.Contains(all[i], ".") && strings.Contains(all[j], ".") })
	for i, path := range all {
		if i > 0 && strings.Contains(path, ".") && !strings.Contains(all[i-1], ".") {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "\t%q\n", path)
	}
}

// ours and std import a package and return its name.
func (p *program) ours(path string) string {
	p.imports[module+"/"+path] = true
	return path[strings.LastIndex(path, "/")+1:]
}

func (p *program) std(path string) string {
	p.imports[path] = true
	return path[strings.LastIndex(path, "/")+1:]
}

// variable returns a name that is not taken.
func (p *program) variable(name string) string {
	found := name
	for i := 2; p.names[found]; i++ {
		found = name + strconv.Itoa(i)
	}
	p.names[found] = true
	return found
}

func (p *program) say(format string, args ...any) { fmt.Fprintf(&p.setup, "\t"+format+"\n", args...) }

// text is a string of the configuration: what came from the environment comes from
// there again.
func (p *program) text(s string) string {
	if name, ok := p.fromEnv[s]; ok {
		return p.std("os") + ".Getenv(" + strconv.Quote(name) + ")"
	}
	for _, value := range slices.SortedFunc(maps.Keys(p.fromEnv), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		if before, after, found := strings.Cut(s, value); found && len(value) > 8 {
			parts := []string{p.text(value)}
			if before != "" {
				parts = append([]string{strconv.Quote(before)}, parts...)
			}
			if after != "" {
				parts = append(parts, strconv.Quote(after))
			}
			return strings.Join(parts, " + ")
		}
	}
	return strconv.Quote(s)
}

func (p *program) texts(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = p.text(s)
	}
	return strings.Join(quoted, ", ")
}

// secret is a string that does not stand in a program.
func (p *program) secret(s, name string) string {
	if from, ok := p.fromEnv[s]; ok {
		name = from
	}
	return p.std("os") + ".Getenv(" + strconv.Quote(name) + ")"
}

func duration(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "time.Hour"}, {time.Minute, "time.Minute"}, {time.Second, "time.Second"}, {time.Millisecond, "time.Millisecond"}} {
		if d > 0 && d%unit.of == 0 {
			if d == unit.of {
				return unit.name
			}
			return fmt.Sprintf("%d*%s", d/unit.of, unit.name)
		}
	}
	return strconv.FormatInt(int64(d), 10)
}

func (p *program) time(d time.Duration) string {
	p.std("time")
	return duration(d)
}

// routes are the statements that put guards and services onto paths.
func (p *program) routes() string {
	var b strings.Builder
	guards := make(map[*kongfile.Plugin]string)
	guardOf := func(plugin *kongfile.Plugin) string {
		if plugin == nil {
			return ""
		}
		if guards[plugin] == "" {
			guards[plugin] = p.guard(plugin.OpenID)
		}
		return guards[plugin]
	}
	if len(p.f.Services) == 0 {
		for _, plugin := range p.f.Attached {
			if plugin.OpenID == nil || !plugin.Enabled {
				continue
			}
			p.std("fmt")
			fmt.Fprintf(&b, "\thttp.Handle(\"/\", %s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {\n", guardOf(plugin))
			fmt.Fprintf(&b, "\t\tcredential, _ := middleware.FromContext(r.Context())\n\t\tfmt.Fprintln(w, \"hello,\", credential.Token.Subject)\n\t})))\n")
			break
		}
		return b.String()
	}
	for _, s := range p.f.Services {
		proxies := make(map[string]string)
		for _, r := range s.Routes {
			plugin := p.f.OpenIDOf(r)
			p.route(&b, r, guardOf(plugin), func() string { return p.proxy(s, plugin, proxies) })
		}
	}
	return b.String()
}

// proxy returns the variable with what forwards to a service.
func (p *program) proxy(s *kongfile.Service, plugin *kongfile.Plugin, made map[string]string) string {
	p.ours("reverseproxy")
	p.std("net/url")
	target := "must(url.Parse(" + p.text(s.URL.String()) + "))"
	if plugin == nil || len(plugin.OpenID.Upstream.Claims) == 0 {
		if made[""] == "" {
			made[""] = p.variable("service")
			p.say("%s := must(reverseproxy.New(%s))", made[""], target)
		}
		return made[""]
	}
	if at := made[plugin.Place().Path]; at != "" {
		return at
	}
	to, v := p.variable("target"), p.variable("service")
	made[plugin.Place().Path] = v
	var names, sets []string
	p.std("encoding/json")
	p.std("net/http/httputil")
	for _, claim := range plugin.OpenID.Upstream.Claims {
		names = append(names, strconv.Quote(claim.Name))
		sets = append(sets, fmt.Sprintf("setClaim(%q, %s)", claim.Name, quotedList(claim.Path)))
	}
	p.say("%s := %s", to, target)
	p.say(`%s := must(reverseproxy.Harden(&httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(%s)
		pr.SetXForwarded()
		credential, ok := middleware.FromContext(pr.In.Context())
		if !ok {
			return
		}
		setClaim := func(header string, path ...string) {
			var value any
			if credential.Token.Claims(&value) != nil {
				return
			}
			for _, name := range path {
				claims, _ := value.(map[string]any)
				value = claims[name]
			}
			if text, ok := value.(string); ok {
				pr.Out.Header.Set(header, text)
			} else if list, err := json.Marshal(value); err == nil && value != nil {
				pr.Out.Header.Set(header, string(list))
			}
		}
		%s
	}}, reverseproxy.WithIdentityHeaders(%s)))`, v, to, strings.Join(sets, "\n\t\t"), strings.Join(names, ", "))
	return v
}

func quotedList(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = strconv.Quote(s)
	}
	return strings.Join(quoted, ", ")
}

// route puts one route onto its patterns.
func (p *program) route(b *strings.Builder, r *kongfile.Route, guard string, proxy func() string) {
	handlerFor := func(prefix string) string {
		handler := proxy()
		if r.StripPath && prefix != "/" && prefix != "" {
			handler = fmt.Sprintf("http.StripPrefix(%q, %s)", strings.TrimSuffix(prefix, "/"), handler)
		}
		if guard != "" {
			handler = guard + ".Wrap(" + handler + ")"
		}
		return handler
	}
	paths, hosts, methods := r.Paths, r.Hosts, r.Methods
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(methods) == 0 {
		methods = []string{""}
	}
	for _, host := range hosts {
		if strings.Contains(host, "*") {
			fmt.Fprintf(b, "\t// %s: http.ServeMux has no patterns with an asterisk in the host.\n", host)
			continue
		}
		for _, path := range paths {
			for _, method := range methods {
				patterns := []string{path}
				if !strings.HasSuffix(path, "/") {
					patterns = append(patterns, path+"/")
				}
				for _, pattern := range patterns {
					if method != "" {
						pattern = method + " " + host + pattern
					} else {
						pattern = host + pattern
					}
					fmt.Fprintf(b, "\thttp.Handle(%q, %s)\n", pattern, handlerFor(path))
				}
			}
		}
	}
}

// guard writes the statements that make the guard of a plugin, and returns its
// variable.
func (p *program) guard(o *kongfile.OpenIDConnect) string {
	v := p.variable("guard")
	if name, ok := p.fromEnv[o.Issuer]; ok && p.d.profile == nil && os.Getenv(name) == "" {
		p.say("// The tokens are those of RFC 9068. For Keycloak, add oidc.WithProfile(oidc.Keycloak), or tell print-go by -profile Keycloak.")
	}
	opts := []string{p.tokens(o)}
	if o.Proof.Mode != "off" {
		opts = append(opts, p.dpop(o))
	}
	if o.Certificate.Mode != "off" {
		opts = append(opts, p.mtls(o))
	}
	if o.Proof.Mode != "strict" && o.Certificate.Mode != "strict" {
		opts = append(opts, "middleware.AllowUnbound()")
	}
	if o.ClientCredentials {
		opts = append(opts, p.exchange(o)...)
	}
	if o.Sessions {
		opts = append(opts, p.session(o))
	}
	if rules := p.rules(o); len(rules) > 0 {
		opts = append(opts, "middleware.WithRules("+strings.Join(rules, ", ")+")")
	}
	if o.Resource != nil {
		opts = append(opts, p.resource(o.Resource))
	}
	if o.PassPreflights {
		opts = append(opts, "middleware.PassPreflights()")
	}
	if o.Given("unauthorized_error_message") || o.Given("forbidden_error_message") || o.DisplayErrors {
		opts = append(opts, fmt.Sprintf(`middleware.WithDenyHandler(func(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
			text := map[int]string{401: %q, 403: %q}[d.Status]
			http.Error(w, text+" "+d.Description, d.Status)
		})`, o.Unauthorized, o.ForbiddenText))
	}
	if len(p.f.Services) > 0 {
		if o.Upstream.TokenHeader == "" {
			opts = append(opts, "middleware.HideCredentials()")
		} else {
			opts = append(opts, "middleware.ForwardBearer()")
		}
	}
	p.say("%s := must(middleware.New(\n\t\t%s,\n\t))", v, strings.Join(opts, ",\n\t\t"))
	return v
}

// issuerOptions are those of an issuer, and whether they are those of oidc.New alone.
func (p *program) issuerOptions(o *kongfile.OpenIDConnect, issuer string) (opts []string) {
	if slices.ContainsFunc([]string{issuer, o.MetadataURL, o.JWKSURI}, kongfile.IsForDevelopment) {
		opts = append(opts, "oidc.DangerouslyAllowLoopbackHTTP()")
	}
	if issuer != o.Issuer {
		return opts
	}
	if o.MetadataIssuer != "" || o.MetadataURL != "" {
		opts = append(opts, "oidc.WithMetadataURL("+p.text(o.MetadataURL)+")")
	}
	if o.MetadataIssuer != "" {
		opts = append(opts, "oidc.WithMetadataIssuer("+p.text(o.MetadataIssuer)+")")
	}
	if o.JWKSURI != "" {
		opts = append(opts, "oidc.WithJWKSURI("+p.text(o.JWKSURI)+")")
	}
	if o.Cooldown > 0 {
		opts = append(opts, "oidc.WithCooldown("+p.time(o.Cooldown)+")")
	}
	if o.Timeout > 0 {
		opts = append(opts, "oidc.WithHTTPClient(&http.Client{Timeout: "+p.time(o.Timeout)+"})")
	}
	return opts
}

// checks are the audience and the options of verifiers, in the words of a room.
func (p *program) checks(o *kongfile.OpenIDConnect, room, issuer string) (audience string, opts []string) {
	audience = `""`
	if len(o.Audiences) > 0 {
		audience = p.text(o.Audiences[0])
	} else {
		opts = append(opts, room+".DangerouslyAcceptAnyAudience()")
		if room == "introspect" {
			opts = append(opts, "introspect.DangerouslyAllowMissingAudience()")
		}
	}
	if room == "oidc" {
		if profile := slices.Concat(p.d.profiles(issuer))[len(p.d.profiles(issuer))-1]; profile != oidc.RFC9068 {
			opts = append(opts, "oidc.WithProfile(oidc."+profile.String()+")")
		}
	}
	if room == "oidc" && len(p.d.audienceless) > 0 {
		opts = append(opts, "oidc.DangerouslyAllowMissingAudience("+p.texts(p.d.audienceless)+")")
	}
	if len(o.Audiences) > 1 {
		opts = append(opts, room+".WithAudiences("+p.texts(o.Audiences[1:])+")")
	}
	if o.Leeway >= 0 {
		opts = append(opts, room+".WithSkew("+p.time(o.Leeway)+")")
	}
	return audience, opts
}

func call(name string, args ...string) string {
	return name + "(" + strings.Join(slices.DeleteFunc(args, func(s string) bool { return s == "" }), ", ") + ")"
}

// tokens is the option that verifies tokens.
func (p *program) tokens(o *kongfile.OpenIDConnect) string {
	p.ours("oidc")
	asks := o.Introspection || o.Introspect.JWTs
	if len(o.Issuers) == 1 && !asks && !o.ClientCredentials {
		audience, opts := p.checks(o, "oidc", o.Issuer)
		return "middleware.WithTokens(" + call("oidc.New", append([]string{p.text(o.Issuer), audience}, append(p.issuerOptions(o, o.Issuer), opts...)...)...) + ")"
	}
	var verifiers []string
	if !(o.Introspection && !o.Bearer && !o.ClientCredentials) || asks || o.ClientCredentials {
		p.issuer(o)
	}
	for _, issuer := range o.Issuers {
		audience, opts := p.checks(o, "oidc", issuer)
		if issuer == o.Issuer {
			verifiers = append(verifiers, call("issuer.Verifier", append([]string{audience}, opts...)...))
		} else {
			verifiers = append(verifiers, call("oidc.New", append([]string{p.text(issuer), audience}, append(p.issuerOptions(o, issuer), opts...)...)...))
		}
	}
	if !asks {
		if len(verifiers) == 1 {
			return "middleware.WithTokens(" + verifiers[0] + ")"
		}
		for i := range verifiers {
			verifiers[i] = "must(" + verifiers[i] + ")"
		}
		return "middleware.WithTokens(" + call("oidc.AnyOf", verifiers...) + ")"
	}
	introspector := p.introspector(o)
	if o.Introspection && !o.Bearer {
		return "middleware.WithTokens(" + introspector + ")"
	}
	v := p.variable("opaque")
	p.say("%s := must(%s)", v, introspector)
	jwts := "must(" + verifiers[0] + ")"
	switch {
	case o.Introspect.JWTs && o.Introspection:
		return fmt.Sprintf("middleware.WithTokens(introspect.OrElse(must(introspect.Then(%s, %s)), %s))", jwts, v, v)
	case o.Introspect.JWTs:
		return fmt.Sprintf("middleware.WithTokens(introspect.Then(%s, %s))", jwts, v)
	}
	return fmt.Sprintf("middleware.WithTokens(introspect.OrElse(%s, %s))", jwts, v)
}

// issuer writes the statement that makes the issuer, which several parts share.
func (p *program) issuer(o *kongfile.OpenIDConnect) {
	p.say("issuer := must(%s)", call("oidc.NewIssuer", append([]string{p.text(o.Issuer)}, p.issuerOptions(o, o.Issuer)...)...))
}

func (p *program) introspector(o *kongfile.OpenIDConnect) string {
	p.ours("oidc/introspect")
	audience, opts := p.checks(o, "introspect", o.Issuer)
	i := &o.Introspect
	add := func(format string, args ...any) { opts = append(opts, fmt.Sprintf("introspect."+format, args...)) }
	if i.Endpoint != "" {
		add("WithEndpoint(%s)", p.text(i.Endpoint))
	}
	if i.SignedAnswers {
		add("RequireSigned()")
	}
	switch {
	case !i.Remember:
		add("WithAnswerLifetime(0), introspect.WithRefusalLifetime(0)")
	default:
		if i.Lifetime >= 0 {
			add("WithAnswerLifetime(%s)", p.time(i.Lifetime))
		}
		if i.Refusal >= 0 {
			add("WithRefusalLifetime(%s)", p.time(i.Refusal))
		}
		if i.Stale > 0 {
			add("WithStaleAnswers(%s)", p.time(i.Stale))
		}
	}
	return call("introspect.New", append([]string{"issuer", audience, p.clientAuth(o, cmp.Or(i.Auth, o.Client.Auth))}, opts...)...)
}

func (p *program) clientAuth(o *kongfile.OpenIDConnect, method string) string {
	p.ours("oidc/clientauth")
	id := p.text(o.Client.ID)
	alg := ""
	if o.Client.Algorithm != "" {
		alg = fmt.Sprintf(", clientauth.WithAlgorithm(%q)", o.Client.Algorithm)
	}
	switch method {
	case "client_secret_basic":
		return fmt.Sprintf("clientauth.SecretBasic(%s, %s)", id, p.secret(o.Client.Secret, "CLIENT_SECRET"))
	case "client_secret_post":
		return fmt.Sprintf("clientauth.SecretPost(%s, %s)", id, p.secret(o.Client.Secret, "CLIENT_SECRET"))
	case "client_secret_jwt":
		return fmt.Sprintf("clientauth.SecretJWT(%s, %s%s)", id, p.secret(o.Client.Secret, "CLIENT_SECRET"), alg)
	case "tls_client_auth", "self_signed_tls_client_auth":
		p.std("crypto/tls")
		p.needs = append(p.needs, "client.crt and client.key, the certificate of tls_client_auth_cert_id")
		v := p.variable("certificate")
		p.say("%s := must(tls.LoadX509KeyPair(\"client.crt\", \"client.key\"))", v)
		name := map[string]string{"tls_client_auth": "TLS", "self_signed_tls_client_auth": "SelfSignedTLS"}[method]
		return fmt.Sprintf("clientauth.%s(%s, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &%s, nil })", name, id, v)
	case "private_key_jwt":
		p.std("crypto")
		p.std("crypto/x509")
		p.std("encoding/pem")
		p.std("os")
		p.needs = append(p.needs, "client-key.pem, the private key of the client at the issuer (PKCS #8); /openid-connect/jwks publishes the other half")
		block, keys := p.variable("block"), p.variable("keys")
		p.say("%s, _ := pem.Decode(must(os.ReadFile(\"client-key.pem\")))", block)
		p.say("%s := must(clientauth.NewKeys(clientauth.Key{Signer: must(x509.ParsePKCS8PrivateKey(%s.Bytes)).(crypto.Signer)}))", keys, block)
		p.say("http.Handle(\"GET /openid-connect/jwks\", %s)", keys)
		return fmt.Sprintf("clientauth.PrivateKeyJWT(%s, %s)", id, keys)
	}
	return fmt.Sprintf("clientauth.Public(%s)", id)
}

func (p *program) exchange(o *kongfile.OpenIDConnect) []string {
	p.ours("oidc/exchange")
	var opts []string
	add := func(format string, args ...any) { opts = append(opts, fmt.Sprintf("exchange."+format, args...)) }
	g := &o.Grant
	if g.Endpoint != "" {
		add("WithEndpoint(%s)", p.text(g.Endpoint))
	}
	if len(g.Scopes) > 0 {
		add("WithScopes(%s)", p.texts(g.Scopes))
	}
	for _, audience := range g.Audience {
		add("WithParameter(\"audience\", %s)", p.text(audience))
	}
	for _, parameter := range g.Parameters {
		add("WithParameter(%q, %s)", parameter[0], p.text(parameter[1]))
	}
	if g.SecretInBody {
		add("SendSecretInBody()")
	}
	if g.TokenLifetime > 0 {
		add("WithTokenLifetime(%s)", p.time(g.TokenLifetime))
	}
	made := []string{"middleware.WithExchange(" + call("exchange.New", append([]string{"issuer"}, opts...)...) + ")"}
	if !o.Bearer && !o.Introspection {
		made = append(made, "middleware.RequireExchange()")
	}
	if !o.ValidateMethods {
		made = append(made, "middleware.DangerouslyExemptExchange()")
	}
	return made
}

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

func (p *program) session(o *kongfile.OpenIDConnect) string {
	p.ours("session")
	s := &o.Session
	opts := []string{"[]byte(" + p.secret(s.Secret, "SESSION_SECRET") + ")"}
	if s.Name != "" {
		opts = append(opts, fmt.Sprintf("session.WithCookieName(%q)", s.Name))
	}
	if s.Path != "/" {
		opts = append(opts, fmt.Sprintf("session.WithPath(%q)", s.Path))
	}
	if s.Domain != "" {
		opts = append(opts, fmt.Sprintf("session.WithDomain(%q)", s.Domain))
	}
	if s.SameSite != http.SameSiteLaxMode {
		opts = append(opts, map[http.SameSite]string{http.SameSiteStrictMode: "session.WithSameSite(http.SameSiteStrictMode)", http.SameSiteNoneMode: "session.WithSameSite(http.SameSiteNoneMode)"}[s.SameSite])
	}
	if o.Given("session_idling_timeout") {
		opts = append(opts, "session.WithIdleTimeout("+p.time(s.Idle)+")")
	}
	if o.Given("session_absolute_timeout") {
		opts = append(opts, "session.WithLifetime("+p.time(s.Lifetime)+")")
	}
	return "middleware.WithSession(" + call("session.New", opts...) + ")"
}

func (p *program) rules(o *kongfile.OpenIDConnect) (rules []string) {
	if o.Proof.Mode == "strict" {
		rules = append(rules, "middleware.DPoPBound()")
	}
	if o.Certificate.Mode == "strict" {
		rules = append(rules, "middleware.CertificateBound()")
	}
	for _, d := range o.Demands {
		var anyOf []string
		for _, words := range d.AnyOf {
			if d.Scopes {
				anyOf = append(anyOf, "middleware.Scopes("+quotedList(words)+")")
				continue
			}
			var allOf []string
			for _, word := range words {
				allOf = append(allOf, fmt.Sprintf("middleware.Claim([]string{%s}, %q)", quotedList(d.Claim), word))
			}
			if len(allOf) == 1 {
				anyOf = append(anyOf, allOf[0])
			} else {
				anyOf = append(anyOf, call("middleware.AllOf", allOf...))
			}
		}
		if len(anyOf) == 1 {
			rules = append(rules, anyOf[0])
		} else {
			rules = append(rules, call("middleware.AnyOf", anyOf...))
		}
	}
	if len(o.Forbidden) > 0 {
		p.std("encoding/json")
		rules = append(rules, fmt.Sprintf(`middleware.RuleFunc("claims_forbidden", func(_ *http.Request, c *middleware.Credential) bool {
			var claims map[string]json.RawMessage
			if c.Token.Claims(&claims) != nil {
				return false
			}
			for _, name := range []string{%s} {
				if _, ok := claims[name]; ok {
					return false
				}
			}
			return true
		})`, quotedList(o.Forbidden)))
	}
	if o.MaxAge > 0 {
		rules = append(rules, "middleware.StepUp("+p.time(o.MaxAge)+")")
	}
	return rules
}

func (p *program) resource(r *kongfile.Resource) string {
	fields := []string{"Identifier: " + p.text(r.Identifier), "AuthorizationServers: []string{" + p.texts(r.AuthorizationServers) + "}"}
	if len(r.Scopes) > 0 {
		fields = append(fields, "Scopes: []string{"+quotedList(r.Scopes)+"}")
	}
	for name, value := range map[string]string{"Name": r.Name, "Documentation": r.Documentation, "JWKSURI": r.JWKSURI} {
		if value != "" {
			fields = append(fields, name+": "+p.text(value))
		}
	}
	slices.Sort(fields)
	return "middleware.WithProtectedResource(middleware.ProtectedResource{" + strings.Join(fields, ", ") + "})"
}

// writeServer writes the statement that serves.
func (p *program) writeServer(b *strings.Builder) {
	if !asksForCertificates(p.f) {
		b.WriteString("\tlog.Fatal(http.ListenAndServeTLS(\":8443\", \"server.crt\", \"server.key\", nil))\n")
		return
	}
	b.WriteString("\tserver := &http.Server{Addr: \":8443\", TLSConfig: mtlspop.RequestClientCert(nil)}\n\tlog.Fatal(server.ListenAndServeTLS(\"server.crt\", \"server.key\"))\n")
}

var certificateName = regexp.MustCompile(`CERT|CA_|KEY|PEM`)

// lookedUp is an environment for a look at a configuration, on a machine that need
// not have its variables. used are the values by name.
func lookedUp(used map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		if !ok && !certificateName.MatchString(name) {
			value, ok = "https://"+strings.ToLower(strings.ReplaceAll(name, "_", "-"))+".is-not-set-for-this-look.example", true
		}
		if ok {
			used[name] = value
		}
		return value, ok
	}
}
