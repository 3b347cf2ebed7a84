package main

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
)

// withoutAudience leaves aud out of the answers of the introspection endpoint. It
// is for a plugin without audience_required: the library checks an audience that
// is there, and nobody has said what it should be.
type withoutAudience struct{ next http.RoundTripper }

// maxAnswer is more than the library reads of an answer.
const maxAnswer = 2 << 20

func (t withoutAudience) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil || r.Method != http.MethodPost || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType != "application/json" {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) == nil && answer["aud"] != nil {
		delete(answer, "aud")
		if body, err = json.Marshal(answer); err != nil {
			return nil, err
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return resp, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t withoutAudience) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
