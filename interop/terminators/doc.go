// Package terminators holds the configurations that the documentation recommends for TLS
// terminators in front of a guarded service, and sends requests through real ones, honest
// and forged:
//
//	bash install.sh
//	INTEROP_REQUIRED=1 go test ./terminators
//
// A terminator that is not on the machine is skipped, or fails the test if
// INTEROP_REQUIRED is set. The files nginx.conf, haproxy.cfg, httpd.conf and Caddyfile
// are what runs, word for word except addresses and the paths of keys, inside of what
// makes a server run by itself, in the foreground, in a directory of its own.
package terminators
