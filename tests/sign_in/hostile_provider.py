"""A provider that says whatever a test lets it: its tokens are signed by PyJWT, which is not what reads them."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public_jwk(key, kid, **more):
    """Give a public key as a provider publishes it."""
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


class HostileProvider:
    """What it publishes and answers with; a test changes it."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.keys = [public_jwk(RSA_KEY, "rsa"), public_jwk(EC_KEY, "ec")]
        self.metadata = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/auth",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        }
        self.status, self.answer, self.userinfo = 200, {}, {}
        self.asked = []

    def claims(self, **change):
        """Make the claims of an ID token that holds, and change some: None leaves one out, and times are from now."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "deltareg", "sub": "s", "iat": 0, "exp": 300, "nonce": "n"} | change
        times = {key: now + claims[key] for key in ("iat", "exp", "nbf") if isinstance(claims.get(key), int)}
        return {key: value for key, value in (claims | times).items() if value is not None}

    def sign(self, claims, *, key=RSA_KEY, algorithm="RS256", kid="rsa", **header):
        """Sign claims."""
        return jwt.encode(claims, key, algorithm=algorithm, headers={**({"kid": kid} if kid else {}), **header})


@contextmanager
def hostile_provider():
    """Run one until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            provider.asked.append(self.path)
            what = {"/jwks": {"keys": provider.keys}, "/userinfo": provider.userinfo}
            self._send(200, what.get(self.path, provider.metadata))

        def do_POST(self):
            provider.asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(provider.status, provider.answer)

        def _send(self, status, value):
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = HostileProvider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
