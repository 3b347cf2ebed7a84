// Package caddy is empty: its module pins the Caddy that the terminator tests run, and
// keeps Caddy's dependencies out of the go.mod of the tests.
package caddy
