#!/usr/bin/env bash
# Puts a Redis server on this machine for the tests (Debian, as root). What is there already is left alone; no service is started.
set -euo pipefail

[ ! -x "$(PATH=$PATH:/usr/sbin command -v redis-server)" ] || exit 0

export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d # Debian asks it whether a package may start its service.
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends redis-server >/dev/null
