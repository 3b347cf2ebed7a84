package fiberguard_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/fiberguard"
	"github.com/keybound-go/middleware/session"
)

// RFC 9110, section 5.3: the order of the values of one field matters. X-Forwarded-For is
// one of those that proxies add to: a service believes the last value, and not those that
// a client has written. Package fasthttp changes the order when it deletes another field.
func TestFieldsKeepTheirOrder(t *testing.T) {
	w := newWorld(t, middleware.HideCredentials(), middleware.AllowUnbound(), middleware.WithSession(session.New([]byte("a key of thirty-two bytes or mor"))))
	app := fiber.New(large)
	app.Use(func(c fiber.Ctx) error {
		c.Set("Cache-Control", "public")
		for _, link := range []string{"</1>", "</2>", "</3>"} {
			c.Response().Header.Add("Link", link)
		}
		return c.Next()
	})
	var mu sync.Mutex
	var seen []string
	app.All("/orders", fiberguard.Wrap(w.guard), func(c fiber.Ctx) error {
		mu.Lock()
		defer mu.Unlock()
		seen = nil
		for _, value := range c.Request().Header.PeekAll("X-Forwarded-For") {
			seen = append(seen, string(value))
		}
		return c.SendString(string(c.Body()))
	})
	address := serve(t, app)
	send := func(head, body string) *http.Response {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST /orders HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n%sX-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\nX-Forwarded-For: 3\r\n%s", head, body)
		require.NoError(t, err)
		a, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		a.Body.Close()
		require.Equal(t, []string{"</1>", "</2>", "</3>"}, a.Header.Values("Link"))
		return a
	}
	good := "Authorization: Bearer " + w.issuer.Token() + "\r\n"
	for name, tc := range map[string]struct {
		head, body string
		status     int
	}{
		"the guard hides a field": {good, "Content-Length: 2\r\n\r\nhi", 200},
		"a trailer is removed":    {good, "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Other: 1\r\n\r\n", 200},
		"the request is refused":  {"", "Content-Length: 2\r\n\r\nhi", 401},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.status, send(tc.head, tc.body).StatusCode)
			mu.Lock()
			defer mu.Unlock()
			if tc.status == 200 {
				require.Equal(t, []string{"1", "2", "3"}, seen)
			}
		})
	}
}

// AUTH-19: DPoP comes first, also where an outer guard's answer is changed by an inner one.
func TestChallengesKeepTheirOrder(t *testing.T) {
	w := newWorld(t, middleware.AllowUnbound(), middleware.ExposeHeaders())
	app := fiber.New(large)
	app.Use(func(c fiber.Ctx) error {
		for _, name := range []string{"Cache-Control", "Content-Type", "Vary", "Access-Control-Expose-Headers", "Www-Authenticate", "X-Last"} {
			c.Set(name, "x")
		}
		return c.Next()
	})
	app.Get("/orders", fiberguard.Wrap(w.guard))
	address := serve(t, app)
	for range 30 { // The order of the fields is that of a map.
		r := request("GET", "/orders")
		a := do(t, address, r, false, nil)
		challenges := a.Header.Values("WWW-Authenticate")
		require.Len(t, challenges, 2)
		require.Contains(t, challenges[0], "DPoP ")
		require.Contains(t, challenges[1], "Bearer ")
	}
}

func request(method, target string) *http.Request {
	r, err := http.NewRequest(method, "http://api.example"+target, nil)
	if err != nil {
		panic(err)
	}
	r.RequestURI, r.Header = "", http.Header{"Origin": {"https://app.example"}}
	return r
}
