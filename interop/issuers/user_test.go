package issuers_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const (
	callback  = "https://client.example/callback" // of the client "user"; nothing listens there
	elsewhere = "https://elsewhere.example"       // another service
)

// userTokens is what the client "user" gets for a user.
type userTokens struct {
	access, refreshed, id, refresh string
	userinfo                       string // signed; empty if the issuer does not sign it
	opaque                         string // an access token that can be introspected, if the other ones cannot
}

// userTokens goes through the authorization code grant as a browser does, with forms
// filled in, and refreshes what it gets.
func (w *world) userTokens(t *testing.T, more url.Values, fill map[string]string) userTokens {
	t.Helper()
	authorization, userinfo := w.endpoints(t)
	verifier := oauth2.GenerateVerifier()
	query := url.Values{
		"response_type": {"code"}, "client_id": {"user"}, "redirect_uri": {callback}, "scope": {"openid offline_access orders"},
		"state": {"a-state-of-some-length"}, "nonce": {"a-nonce-of-some-length"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	token := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	for name, values := range more {
		query[name] = values
		if name == "resource" {
			token[name] = values
		}
	}
	if scope := more.Get("scope"); scope != "" {
		query.Set("scope", scope)
	}
	back := w.browse(t, authorization+"?"+query.Encode(), fill)
	require.NotEmpty(t, back.Get("code"), "%v", back)
	token.Set("code", back.Get("code"))
	first := w.post(t, "user", token)
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.RefreshToken}}
	if resource := more.Get("resource"); resource != "" {
		refresh.Set("resource", resource)
	}
	again := w.post(t, "user", refresh)
	u := userTokens{access: first.AccessToken, refreshed: again.AccessToken, id: first.IDToken, refresh: first.RefreshToken}
	if again.RefreshToken != "" {
		u.refresh = again.RefreshToken // the first one is used up, where they rotate
	}
	if userinfo != "" && more.Get("resource") == "" {
		u.userinfo = w.signedUserinfo(t, userinfo, again.AccessToken)
	}
	return u
}

func (w *world) endpoints(t *testing.T) (authorization, userinfo string) {
	resp, err := w.files.client(nil).Get(strings.TrimSuffix(w.issuer.url, "/") + "/.well-known/openid-configuration")
	require.NoError(t, err)
	defer resp.Body.Close()
	var metadata struct {
		Authorization string `json:"authorization_endpoint"`
		Userinfo      string `json:"userinfo_endpoint"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&metadata))
	return metadata.Authorization, metadata.Userinfo
}

// post asks the token endpoint.
func (w *world) post(t *testing.T, client string, form url.Values) (answer grant) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.issuer.tokenEndpoint, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, client+"-secret")
	resp, err := w.files.client(nil).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(text))
	require.NoError(t, json.Unmarshal(text, &answer))
	return answer
}

// signedUserinfo is what the issuer says of the user, if it signs that.
func (w *world) signedUserinfo(t *testing.T, at, accessToken string) string {
	r, err := http.NewRequest(http.MethodGet, at, nil)
	require.NoError(t, err)
	r.Header = bearer(accessToken)
	resp, err := w.files.client(nil).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/jwt") {
		return ""
	}
	return string(text)
}

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*>.*?</form>`)
	action   = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)
	inputTag = regexp.MustCompile(`<input[^>]*>`)
	attr     = regexp.MustCompile(`\s(name|value)="([^"]*)"`)
)

// browse follows redirects and submits the forms that it meets, until it is sent back to
// the client; it returns the query there.
func (w *world) browse(t *testing.T, at string, fill map[string]string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, Timeout: time.Minute, Transport: w.files.client(nil).Transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	r, err := http.NewRequest(http.MethodGet, at, nil)
	require.NoError(t, err)
	var page []byte
	for range 6 {
		r.Header.Set("Accept", "text/html")
		resp, err := browser.Do(r)
		require.NoError(t, err)
		page, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		if to, err := resp.Location(); err == nil && strings.HasPrefix(to.String(), callback) {
			return to.Query()
		}
		form := formTag.FindString(string(page))
		require.NotEmpty(t, form, "%s: %s: %s", resp.Request.URL, resp.Status, page)
		to, values := resp.Request.URL, url.Values{}
		if m := action.FindStringSubmatch(form); m != nil {
			to, err = to.Parse(html.UnescapeString(m[1]))
			require.NoError(t, err)
		}
		for _, input := range inputTag.FindAllString(form, -1) {
			var name, value string
			for _, m := range attr.FindAllStringSubmatch(input, -1) {
				if m[1] == "name" {
					name = m[2]
				} else {
					value = html.UnescapeString(m[2])
				}
			}
			if given, ok := fill[name]; ok {
				value = given
			}
			if name != "" {
				values.Set(name, value)
			}
		}
		r, err = http.NewRequest(http.MethodPost, to.String(), strings.NewReader(values.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	t.Fatalf("there is always one more form: %s", page)
	return nil
}
