"""Certificates of an authority of the tests, and a server that shows one of them."""

import ipaddress
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; its own is what has to be trusted."""

    def __init__(self, folder):
        self._folder = folder
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _name("an authority of tests")
        self.path = folder / "authority.pem"
        made = _certificate(self._name, self._name, self._key.public_key(), days=9)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = made.add_extension(usage, critical=True)
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = made.add_extension(self._identifier, critical=False)
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, host, *, days=9):
        """Sign a certificate for a host; gives the file with it and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_name(host), self._name, key.public_key(), days=days)
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = made.add_extension(x509.SubjectAlternativeName(names[: 2 if host == "localhost" else 1]), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
        made = made.add_extension(authority, critical=False)
        path = self._folder / f"{host}-{days}.pem"
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        signed = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        path.write_bytes(key.private_bytes(*form) + signed)
        return path


@contextmanager
def serving_tls(certificate):
    """Answer 503 to everything in TLS; gives the address by name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"https://localhost:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)

    def log_message(self, *_args):
        pass


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, issuer, public, *, days):
    """Begin a certificate that ends in some days; one of negative days has ended."""
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - timedelta(days=30)).not_valid_after(now + timedelta(days=days))
