#!/usr/bin/env bash
# Puts the terminators on this machine: nginx, HAProxy and Apache httpd from the distribution (Debian, as root), Caddy from
# its Go module. What is there already is left alone; no service is started.
set -euo pipefail
cd "$(dirname "$0")"
. ../../.ci/install.sh

packages nginx:nginx-light haproxy:haproxy apache2:apache2-bin openssl:openssl curl:curl # openssl makes certificates that Go cannot

# Caddy takes minutes to compile, so it is kept; go.sum changes with the version.
cache=../.cache
stamp=$(sha256sum <caddy/go.sum)
if [ ! -x "$cache/caddy" ] || [ "$(cat "$cache/caddy.stamp" 2>/dev/null)" != "$stamp" ]; then
  mkdir -p "$cache"
  quietly go -C caddy build -o "../$cache/caddy" github.com/caddyserver/caddy/v2/cmd/caddy
  echo "$stamp" >"$cache/caddy.stamp"
fi
