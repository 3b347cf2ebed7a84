"""Calls a guarded service with DPoP: joserfc makes the keys and signs, httpx sends."""
import base64, hashlib, os, time, uuid

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

key = ECKey.generate_key("P-256")
nonces = {}  # the last nonce of each server


def proof(method, url, token=None):
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
    claims = {"jti": str(uuid.uuid4()), "htm": method, "htu": str(url.copy_with(query=None, fragment=None)), "iat": int(time.time())}
    if token:
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if nonce := nonces.get(url.netloc):
        claims["nonce"] = nonce
    return jwt.encode(header, claims, key)


def send(http, method, url, token=None, **request):
    """One request with a proof of its own, and one more if the server wants another nonce."""
    url = httpx.URL(url)
    for attempt in range(2):
        headers = {"DPoP": proof(method, url, token)}
        if token:
            headers["Authorization"] = f"DPoP {token}"
        response = http.request(method, url, headers=headers, **request)
        known = nonces.get(url.netloc)
        if fresh := response.headers.get("DPoP-Nonce"):
            nonces[url.netloc] = fresh
        if response.status_code not in (400, 401) or fresh in (None, known):
            break
    return response


with httpx.Client() as http:
    metadata = http.get(os.environ["ISSUER"] + "/.well-known/openid-configuration").json()
    answer = send(
        http, "POST", metadata["token_endpoint"],
        data={"grant_type": "client_credentials", "scope": "orders:read"},
        auth=(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]),
    )
    token = answer.raise_for_status().json()["access_token"]
    print(send(http, "GET", os.environ["URL"], token).status_code)
