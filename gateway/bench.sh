#!/usr/bin/env bash
# What the guard costs: wrk over loopback TLS against the same proxy without a
# guard, with one that checks bearer tokens, and with one that checks DPoP proofs,
# each of which is used once. The processor time of the gateway for each request is
# the steadier number on a machine that has other things to do; in parentheses, what
# it is as a multiple of the one without a guard. Needs Linux and wrk (Debian:
# apt-get install wrk).
#
#   bash bench.sh [seconds per run] [rounds]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-5} rounds=${2:-3}
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$dir"' EXIT

go build -o "$dir/gateway" .
go build -o "$dir/playground" ./playground

origin=https://127.0.0.1:18443
"$dir/playground" -dir "$dir" -origin $origin -proofs $((rounds * seconds * 12000)) >"$dir/playground.log" &
pids+=($!)
until grep -q 'playground: the issuer' "$dir/playground.log"; do sleep 0.2; done
. "$dir/env"

config() { # a file with the given lines for the plugin, or with no plugin
  printf '_format_version: "3.0"\nservices: [{name: s, url: "%s", routes: [{name: r, paths: [/]}]}]\n' "$DECK_UPSTREAM"
  [ -z "$1" ] || printf 'plugins: [{name: openid-connect, config: {issuer: "%s", auth_methods: [bearer], audience_required: ["https://api.example"], %s}}]\n' "$DECK_ISSUER" "$1"
}
serve() { # name, port, lines
  config "$3" >"$dir/$1.yaml"
  "$dir/gateway" -config "$dir/$1.yaml" -listen 127.0.0.1:"$2" $GATEWAY_FLAGS >"$dir/$1.log" 2>&1 &
  pids+=($!)
  declare -g "pid_$1=$!"
  until grep -qs 'gateway: listening' "$dir/$1.log"; do sleep 0.1; done
}
serve open 18441 ''
serve bearer 18442 'proof_of_possession_dpop: "off"'
serve dpop 18443 'proof_of_possession_dpop: strict, dpop_proof_lifetime: 3600'

cat >"$dir/proofs.lua" <<'LUA'
local round, rounds, proofs = tonumber(os.getenv("ROUND")), tonumber(os.getenv("ROUNDS")), {}
for line in io.lines(os.getenv("DIR") .. "/proofs") do proofs[#proofs + 1] = line end
local file = io.open(os.getenv("DIR") .. "/bound"); local token = file:read("*a"); file:close()
local share = math.floor(#proofs / rounds)
local last, stop = round * share, (round + 1) * share
wrk.headers["Authorization"] = "DPoP " .. token
request = function()
  last = last + 1
  wrk.headers["DPoP"] = proofs[last] -- none are left: 401, which wrk counts
  return wrk.format("GET", "/status/200")
end
LUA
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; } # of processor time, a hundredth of a second each
rate() { # pid, wrk's arguments: requests per second, and microseconds of processor time for each
  local pid=$1 before out
  shift
  before=$(ticks "$pid")
  out=$(wrk -t1 -c16 -d"${seconds}s" "$@")
  if grep -q 'Non-2xx' <<<"$out"; then echo "$out" >&2; return 1; fi
  awk -v ticks=$(($(ticks "$pid") - before)) '/requests in/ {n = $1} /Requests\/sec/ {print $2, ticks * 10000 / n}' <<<"$out"
}
export DIR=$dir ROUNDS=$rounds ROUND
for ((ROUND = 0; ROUND < rounds; ROUND++)); do
  a=$(rate "$pid_open" https://127.0.0.1:18441/status/200)
  b=$(rate "$pid_bearer" -H "Authorization: Bearer $(cat "$dir/bearer")" https://127.0.0.1:18442/status/200)
  c=$(rate "$pid_dpop" -s "$dir/proofs.lua" $origin/status/200)
  echo "$a $b $c"
done | awk '
  {printf "without a guard %5.0f/s %4.0f us   bearer %5.0f/s %4.0f us (%.2f)   DPoP %5.0f/s %4.0f us (%.2f)\n", $1, $2, $3, $4, $4/$2, $5, $6, $6/$2
   a += $2; b += $4; c += $6; ra += $1; rb += $3; rc += $5}
  END {printf "throughput with the guard: bearer %.2f, DPoP %.2f of that without; processor time: bearer %.2f, DPoP %.2f times\n", rb/ra, rc/ra, b/a, c/a}'
