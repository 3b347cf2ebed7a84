package oidctest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
)

const deviceCodeGrant = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628, section 3.4

// grant is what a token request is entitled to.
type grant struct {
	client  string
	subject string // of the user, "" where the client speaks for itself
	scope   string
	jkt     string // of the key that the refresh token is bound to, "" for none
}

// device is a device authorization on its way.
type device struct {
	grant
	userCode string
	approved bool
}

// grant judges the grant of a token request. code is the error, "" for none.
func (i *Issuer) grant(client Registration, form url.Values) (g grant, code string) {
	switch form.Get("grant_type") {
	case "client_credentials":
		return grant{client: client.ID, scope: form.Get("scope")}, ""
	case "refresh_token":
		return i.redeem(client, form)
	case deviceCodeGrant:
		return i.poll(client, form.Get("device_code"))
	default:
		return grant{}, "unsupported_grant_type"
	}
}

// redeem is RFC 6749, section 6: a refresh token may narrow its scope.
func (i *Issuer) redeem(client Registration, form url.Values) (g grant, code string) {
	i.mu.Lock()
	g, known := i.refresh[form.Get("refresh_token")]
	i.mu.Unlock()
	if !known || g.client != client.ID {
		return grant{}, "invalid_grant"
	}
	if scope := form.Get("scope"); scope != "" {
		g.scope = scope
	}
	return g, ""
}

// poll is RFC 8628, section 3.5.
func (i *Issuer) poll(client Registration, deviceCode string) (g grant, code string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d, known := i.devices[deviceCode]
	switch {
	case !known || d.client != client.ID:
		return grant{}, "invalid_grant"
	case !d.approved:
		return grant{}, "authorization_pending"
	}
	delete(i.devices, deviceCode)
	return d.grant, ""
}

// changes makes the token of a grant.
func (g grant) changes(form url.Values) []Change {
	changes := []Change{ForClient(g.client)}
	if g.subject != "" {
		changes = append(changes, Claim("sub", g.subject))
	}
	if g.scope != "" {
		changes = append(changes, Claim("scope", g.scope))
	}
	if aud := form["resource"]; len(aud) > 0 {
		changes = append(changes, Claim("aud", aud)) // RFC 8707
	} else if aud := form.Get("audience"); aud != "" {
		changes = append(changes, Claim("aud", aud))
	}
	return changes
}

// refreshToken makes one. The older ones stay good, so that a client whose
// response was lost is not locked out.
func (i *Issuer) refreshToken(g grant) string {
	token := rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refresh[token] = g
	return token
}

// serveDevice is RFC 8628, sections 3.1 and 3.2.
func (i *Issuer) serveDevice(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	client, err := i.authenticate(r)
	if err != nil {
		refuseClient(w, err)
		return
	}
	deviceCode, userCode := rand.Text(), rand.Text()[:8]
	i.mu.Lock()
	i.devices[deviceCode] = &device{
		grant:    grant{client: client.ID, subject: "user-1", scope: r.PostForm.Get("scope")},
		userCode: userCode,
	}
	i.mu.Unlock()
	i.answer(w, Device, map[string]any{
		"device_code":               deviceCode,
		"user_code":                 userCode,
		"verification_uri":          i.Endpoint(Verification),
		"verification_uri_complete": i.Endpoint(Verification) + "?user_code=" + userCode,
		"expires_in":                600,
		"interval":                  1,
	})
}

// serveVerification takes a visit for the user's consent.
func (i *Issuer) serveVerification(w http.ResponseWriter, r *http.Request) {
	if !i.Approve(r.URL.Query().Get("user_code")) {
		http.Error(w, "unknown user_code", http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, "The device may go on.")
}

// Approve is the user's consent to a device (RFC 8628, section 3.3). It reports
// whether a device with this code waits.
func (i *Issuer) Approve(userCode string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, d := range i.devices {
		if userCode != "" && d.userCode == userCode {
			d.approved = true
			return true
		}
	}
	return false
}
