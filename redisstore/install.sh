#!/usr/bin/env bash
# Puts a Redis server on this machine for the tests (Debian, as root). What is there already is left alone; no service is started.
set -euo pipefail
. "$(dirname "$0")/../.ci/install.sh"
packages redis-server:redis-server
