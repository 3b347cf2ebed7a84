# Sourced by the scripts that install what tests need (Debian, as root). Installers are quiet while they succeed; one that fails says why.

# quietly runs a command and prints what it said only if it fails: the end of it, and where the rest is.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    echo "!! status $status from: $*"
    tail -n 40 "$log"
    echo "!! the whole of it: $log"
    return "$status"
  fi >&2
  rm -f "$log"
}

# packages installs the Debian packages of what is missing. Each argument is NAME:PACKAGE, where NAME is a program or the path of a file.
# No service is started. What is there is left alone, so that a machine which has everything needs neither Debian nor root.
packages() {
  local pair name missing=() policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d} status=0
  for pair in "$@"; do
    name=${pair%%:*}
    case $name in
      /*) [ -e "$name" ] ;;
      *) PATH=$PATH:/usr/local/sbin:/usr/sbin command -v "$name" >/dev/null ;;
    esac || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "!! install these yourself, since this is not Debian or not root: ${missing[*]}" >&2
    return 1
  fi
  echo "+ apt-get install ${missing[*]}"
  if [ -z "${PACKAGE_LISTS_ARE_NEW-}" ]; then
    quietly apt-get update || return
    export PACKAGE_LISTS_ARE_NEW=1
  fi
  if [ -e "$policy" ]; then
    policy=
  else # Debian asks it whether a package may start its service.
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends "${missing[@]}" || status=$?
  [ -z "$policy" ] || rm -f "$policy"
  return "$status"
}

# c_compiler is for the race detector, BoringSSL, SQLite and spin.
c_compiler() { packages gcc:gcc /usr/include/stdio.h:libc6-dev; }

# python_with_venv installs Python 3, and what "python3 -m venv" needs of it.
python_with_venv() {
  packages python3:python3 || return
  python3 -c 'import ensurepip' 2>/dev/null || packages /missing:python3-venv
}
