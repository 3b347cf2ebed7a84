# Calls a guarded service with DPoP from a shell.
set -euo pipefail

# One command: a key that is kept in client.jwk, a token that is kept nowhere, one call.
KEYBOUND_CLIENT_SECRET=$CLIENT_SECRET keybound call --key client.jwk --make-key ES256 \
  --issuer "$ISSUER" --client-id "$CLIENT_ID" --scope orders:read "$URL" >/dev/null 2>exchange

# With curl: a token that is bound to the key, then a proof for each request. A service that demands nonces answers the
# first request with one.
demand=$(curl -s -u "$CLIENT_ID:$CLIENT_SECRET" -H "DPoP: $(keybound proof --key client.jwk -X POST "$ISSUER/token")" \
  -d 'grant_type=client_credentials&scope=orders:read' -D - "$ISSUER/token" -o /dev/null)
nonce=$(tr -d '\r' <<<"$demand" | sed -n 's/^dpop-nonce: //Ip')
curl -s -u "$CLIENT_ID:$CLIENT_SECRET" -H "DPoP: $(keybound proof --key client.jwk -X POST --nonce "$nonce" "$ISSUER/token")" \
  -d 'grant_type=client_credentials&scope=orders:read' "$ISSUER/token" | sed 's/.*"access_token":"\([^"]*\)".*/\1/' >token

nonce=$(tr -d '\r' <exchange | sed -n 's/.*dpop-nonce: //Ip' | tail -n 1)
curl -s -o /dev/null -w '%{http_code}\n' -H "Authorization: DPoP $(cat token)" \
  -H "DPoP: $(keybound proof --key client.jwk --token-file token --nonce "$nonce" "$URL")" "$URL"
