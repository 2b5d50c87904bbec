"""An issuer of this machine: its discovery document, its keys, and assertions signed by hand.

Nothing here is the library that the server checks with: the encoding is RFC 7515 written out, the
signatures are of `cryptography`.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CLAIMS = Path(__file__).with_name("claims")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(data):
    """Encode without padding, as JOSE does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def rsa_key(number=0, bits=2048):
    """Make a key of RSA once a process; numbers tell keys apart."""
    return rsa.generate_private_key(65537, bits) if number >= 0 else None


@cache
def ec_key(number=0):
    """Make a key of P-256 once a process."""
    return ec.generate_private_key(ec.SECP256R1()) if number >= 0 else None


def jwk(key, kid, **more):
    """Write the public half of a key as a JSON Web Key."""
    public = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        size = (public.n.bit_length() + 7) // 8
        parts = {"kty": "RSA", "n": b64(public.n.to_bytes(size)), "e": b64(public.e.to_bytes(3))}
    else:
        parts = {"kty": "EC", "crv": "P-256", "x": b64(public.x.to_bytes(32)), "y": b64(public.y.to_bytes(32))}
    return {**parts, "kid": kid, "use": "sig", **more}


def sign_rs256(key, data):
    """Sign as RS256."""
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def sign_es256(key, data):
    """Sign as ES256."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def sign_hs256(secret, data):
    """Sign as HS256."""
    return hmac.new(secret, data, hashlib.sha256).digest()


def pem_of(key):
    """Return the public half as everybody may have it: what a confused verifier takes for a secret."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def documented(name, **changed):
    """Return the claims that a provider documents, valid now; None as a value takes a claim away."""
    now = int(time.time())
    claims = json.loads((CLAIMS / f"{name}.json").read_text())
    claims |= {"jti": str(uuid.uuid4()), "iat": now, "nbf": now - 5, "exp": now + 300}
    return {key: value for key, value in (claims | changed).items() if value is not None}


class Issuer:
    """An issuer that listens; its documents may be changed while it does."""

    def __init__(self):
        self.requests: list[str] = []
        self.keys = [jwk(rsa_key(), "one", alg="RS256"), jwk(ec_key(), "curve")]
        self.status = 200
        self.discovery = {}
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                issuer.answer(self)

            def log_message(self, *_):
                """Be silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request):
        """Answer one request."""
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovery},
            "/keys": {"keys": self.keys},
        }
        document = documents.get(request.path)
        body = json.dumps(document).encode()
        request.send_response(self.status if document else 404)
        if self.status in {301, 302, 307}:
            request.send_header("Location", f"{self.url}/elsewhere")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def close(self):
        """Stop listening."""
        self.http.shutdown()
        self.http.server_close()

    def sign(self, claims, *, header=None, key=None, sign=sign_rs256, payload=None):
        """Write an assertion: `header` changes the usual one, `payload` is text in place of the claims."""
        head = {"typ": "JWT", "alg": "RS256", "x5t": "example-thumbprint", "kid": "one"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        text = payload if payload is not None else json.dumps({"iss": self.url, **claims})
        signed = f"{b64(json.dumps(head).encode())}.{b64(text.encode())}"
        return f"{signed}.{b64(sign(key or rsa_key(), signed.encode()))}"


class GitHub:
    """What hands assertions to jobs: an address and a secret of the job's own, as its variables say."""

    def __init__(self, issuer, **changed):
        """Prepare for jobs of the documented repository, with some of their claims changed."""
        seen = self.seen = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                audience = parse_qs(urlsplit(self.path).query)["audience"][0]
                seen.append((audience, self.headers["Authorization"]))
                value = issuer.sign(documented("github", **{"aud": audience, **changed}))
                body = json.dumps({"value": value}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Be silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.environ = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{self._http.server_address[1]}/token?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        }

    def __enter__(self):
        """Listen until the block ends."""
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
