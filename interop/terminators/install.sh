#!/usr/bin/env bash
# Puts the terminators on this machine: nginx, HAProxy and Apache httpd from the distribution (Debian, as root), Caddy from
# its Go module. What is there already is left alone; no service is started.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
[ -x "$(PATH=$PATH:/usr/sbin command -v nginx)" ] || missing+=(nginx-light)
[ -x "$(PATH=$PATH:/usr/sbin command -v haproxy)" ] || missing+=(haproxy)
[ -x "$(PATH=$PATH:/usr/sbin command -v apache2)" ] || missing+=(apache2-bin)
command -v openssl >/dev/null || missing+=(openssl) # makes certificates that Go cannot

if [ ${#missing[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d # Debian asks it whether a package may start its service.
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Caddy takes minutes to compile, so it is kept; go.sum changes with the version.
cache=../.cache
stamp=$(sha256sum <caddy/go.sum)
if [ ! -x "$cache/caddy" ] || [ "$(cat "$cache/caddy.stamp" 2>/dev/null)" != "$stamp" ]; then
  mkdir -p "$cache"
  go -C caddy build -o "../$cache/caddy" github.com/caddyserver/caddy/v2/cmd/caddy
  echo "$stamp" >"$cache/caddy.stamp"
fi
