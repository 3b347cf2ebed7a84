#!/usr/bin/env bash
# Makes the certificates beside this file with OpenSSL 3: self-signed, valid to
# TLS libraries other than Go's, and refused by crypto/x509.
set -euo pipefail
cd "$(dirname "$0")"
key=$(mktemp)
trap 'rm -f "$key"' EXIT

# certificate NAME [option of openssl req ...]: the key is in $key.
certificate() {
	openssl req -x509 -new -key "$key" -days 36500 -subj "/CN=$1" -out "$1.pem" "${@:2}"
}

# ec CURVE [option of openssl genpkey ...]
ec() {
	openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$1" "${@:2}" -out "$key" 2>/dev/null
}

for curve in brainpoolP256r1 brainpoolP384r1 brainpoolP512r1 secp256k1; do
	ec $curve
	certificate $curve
done
ec P-256 -pkeyopt ec_param_enc:explicit
certificate explicit-parameters

ec P-256
certificate negative-serial -set_serial -7
# GeneralNames with an iPAddress of five bytes; with a dNSName in UTF-8; with a URI
# that has no host; and one that is no sequence.
certificate san-address -addext 'subjectAltName=DER:30:07:87:05:0a:00:00:01:00'
certificate san-utf8 -addext 'subjectAltName=DER:30:08:82:06:c3:bc:2e:6f:72:67'
certificate san-uri -addext 'subjectAltName=DER:30:0b:86:09:68:74:74:70:3a:2f:2f:5b:3a'
certificate san-string -addext 'subjectAltName=DER:04:02:61:62'
