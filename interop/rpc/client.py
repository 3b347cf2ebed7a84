"""A client of grpcio that proves its key by call credentials (DPoP over gRPC).

It prints one line of JSON for each thing that it does.
"""

import base64
import hashlib
import json
import os
import time
import uuid

import grpc
import jwt

SERVICE = "/grpc.health.v1.Health/"
jwk = json.loads(os.environ["JWK"])
token = os.environ["TOKEN"]
key = jwt.algorithms.ECAlgorithm.from_jwk(jwk)
public = {k: v for k, v in jwk.items() if k != "d"}


class DPoP(grpc.AuthMetadataPlugin):
    """Makes a proof for each call, with the newest nonce."""

    nonce = None
    made = 0

    def __call__(self, context, callback):
        self.made += 1
        claims = {
            "jti": str(uuid.uuid4()),
            "htm": "POST",
            "htu": context.service_url + "/" + context.method_name.rsplit("/", 1)[-1],
            "iat": int(time.time()),
            "ath": base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode(),
        }
        if self.nonce:
            claims["nonce"] = self.nonce
        self.last = jwt.encode(claims, key, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": public})
        callback((("authorization", "DPoP " + token), ("dpop", self.last)), None)


def say(what, **more):
    print(json.dumps({"did": what, **more}), flush=True)


def metadata(pairs):
    return {k: v for k, v in pairs or ()}


with open(os.environ["CA"], "rb") as f:
    tls = grpc.ssl_channel_credentials(f.read())
plugin = DPoP()
both = grpc.composite_channel_credentials(tls, grpc.metadata_call_credentials(plugin))


def identity(message):
    return message


def check(channel, **options):
    """One call, and what came of it."""
    call = channel.unary_unary(SERVICE + "Check", identity, identity)
    try:
        _, done = call.with_call(b"", **options)
    except grpc.RpcError as e:
        trailer = metadata(e.trailing_metadata())
        return {"code": e.code().name, "message": e.details(), "challenge": trailer.get("www-authenticate", ""), "nonce": trailer.get("dpop-nonce", "")}
    return {"code": "OK", "nonce": metadata(done.trailing_metadata()).get("dpop-nonce", "")}


with grpc.secure_channel(os.environ["ADDRESS"], tls) as plain:
    say("plain", **check(plain))
    with grpc.secure_channel(os.environ["ADDRESS"], both) as channel:
        first = check(channel)
        say("first", **first)
        plugin.nonce = first["nonce"]
        say("retry", **check(channel))
        say("next", **check(channel))
        say("replay", **check(plain, metadata=(("authorization", "DPoP " + token), ("dpop", plugin.last))))
        stream = channel.unary_stream(SERVICE + "Watch", identity, identity)(b"")
        next(stream)
        stream.cancel()
        say("stream", code="OK", proofs=plugin.made)
