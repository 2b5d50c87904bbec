"""Signers of deltas that a user trusts, as written on a command line, and their signatures.

A signer is a file with a public key or an authority's certificate, a keyid, `ca:FINGERPRINT`, or
the address of an issuer of identities; `#NAME` behind the last three narrows it to one identity.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.results.proofs import SignerKey
from deltareg.errors import BadSignature, InvalidInput, Misconfigured
from deltareg.signing.bundles import is_bundle, read_bundle, read_sealed
from deltareg.signing.key_file import write_new
from deltareg.signing.making import SIGSTORE, SigningCredentials, make_private, read_private
from deltareg.signing.opening import (
    Authority,
    OpenedBundle,
    fingerprint,
    load_authorities,
    open_by_chain,
    open_by_key,
    open_by_sigstore,
    open_sealed,
    read_beside,
)
from deltareg.signing.pem_keys import PemKey
from deltareg.signing.signatories import Signatory, WantedSigner

_MOST_BYTES = 100_000
_HOW = "name a public key, a keyid, an authority's certificate, ca:FINGERPRINT#NAME, or ISSUER#NAME"


@dataclass(frozen=True, slots=True)
class TrustedSigner:
    """A trusted signer.

    Attributes:
        wanted: Who the signer is.
        key: The signer's public key, if at hand.
        authorities: The certificate of the authority, if at hand.
        trust: The trust configuration of a Sigstore, for identities.
    """

    wanted: WantedSigner
    key: PemKey | None = None
    authorities: tuple[Authority, ...] = ()
    trust: Path | None = None

    @property
    def description(self) -> str:
        """A description of the signer."""
        return self.wanted.description

    def opens(self, raw: bytes, *, public: str = "") -> OpenedBundle:
        """Open what the signer has signed: a bundle, or a bare envelope.

        Args:
            raw: The bytes of the bundle or envelope.
            public: A public key that came with it; used if it is the signer's.

        Raises:
            BadSignature: It does not verify, or somebody else signed it.
            Misconfigured: A Sigstore is needed, and none is configured.
        """
        opened = self._open_bundle(raw, public)
        if not self.wanted.is_met_by(opened.signatory):
            raise BadSignature(f"it is signed by {opened.signatory.description}, not by {self.description}", fix=_HOW)
        return opened

    def _open_bundle(self, raw: bytes, public: str) -> OpenedBundle:
        if not is_bundle(raw):
            key = self._own_key(public)
            return OpenedBundle(open_sealed(read_sealed(raw), key), Signatory(keyid=key.keyid))
        bundle = read_bundle(raw)
        if bundle.hint:
            return open_by_key(bundle, self._own_key(public))
        if not bundle.is_keyless:
            roots = self.authorities or read_beside(public).authorities
            return open_by_chain(bundle, at=None, roots=roots)
        if self.trust is None:
            raise Misconfigured("a Sigstore signed it, and none is configured here", fix="name it: --sigstore-trust")
        return open_by_sigstore(raw, bundle, self.trust)

    def _own_key(self, public: str) -> PemKey:
        key = self.key or read_beside(public).key
        if key is None:
            raise InvalidInput(f"the public key of {self.description} is not at hand", fix="name its file: --key FILE")
        if key.keyid != self.wanted.key:
            raise BadSignature(f"it is signed by key {key.keyid[:12]}, not by {self.description}", fix=_HOW)
        return key


def parse_signers(texts: Sequence[str], *, trust: Path | None = None) -> tuple[TrustedSigner, ...]:
    """Parse the signers that a user trusts.

    Raises:
        InvalidInput: A text does not name a signer.
    """
    return tuple(_signer(text, trust) for text in texts)


def sign_with(
    sign: str | os.PathLike[str] | SigningCredentials,
    certificate: Path | None = None,
    chain: Sequence[Path] = (),
    trust: Path | None = None,
) -> SigningCredentials:
    """Read the signing credentials: a file with a private key, or the word `sigstore`.

    Raises:
        InvalidInput: A certificate is given without a key.
    """
    if isinstance(sign, SigningCredentials):
        return sign
    if not os.fspath(sign):
        raise InvalidInput("a certificate goes with a key", fix="--sign KEY --certificate FILE")
    key = None if sign == SIGSTORE else Path(sign)
    return SigningCredentials(key, certificate, tuple(chain), trust)


def key_in(path: Path) -> SignerKey:
    """Return how a key or a certificate is named; create a key pair if there is no file.

    The public half lies beside it, with `.pub` appended, for those who verify.

    Raises:
        InvalidInput: The file holds neither.
        Misconfigured: Others can read a private key, or nothing can be written there.
    """
    is_new = not path.exists()
    try:
        if is_new:
            write_new(path, make_private())
        if b"PRIVATE KEY" not in path.read_bytes()[:_MOST_BYTES]:
            signer = _of_file(path, "").wanted
            name = signer.key or f"ca:{signer.ca}"
            return SignerKey(path=str(path), named=name, public=str(path))
        key = read_private(path)
        public = path.with_name(f"{path.name}.pub")
        if not public.exists():
            public.write_text(key.pem, encoding="utf-8")
    except OSError as error:
        raise Misconfigured(
            f"cannot keep a key in {path}: {error.strerror}", fix="name a file that can be written"
        ) from error
    return SignerKey(path=str(path), named=key.keyid, public=str(public), is_new=is_new)


def public_in(path: Path) -> str:
    """Return the public key, or an authority's certificate, in a file, as PEM.

    A private key is refused before it is sent anywhere.

    Raises:
        InvalidInput: The file holds none.
    """
    try:
        text = path.read_bytes()[:_MOST_BYTES].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"no public key in {path}", fix=_HOW) from error
    return read_beside(text).pem


def _signer(text: str, trust: Path | None) -> TrustedSigner:
    if Path(text).is_file():
        return _of_file(Path(text), "")
    target, _, identity = text.partition("#")
    if Path(target).is_file():
        return _of_file(Path(target), identity)
    if target.startswith(("https://", "http://")):
        return TrustedSigner(WantedSigner.of_fields(_drop_empty(issuer=target, identity=identity)), trust=trust)
    if target.startswith("ca:"):
        fields = _drop_empty(ca=target.removeprefix("ca:"), identity=identity)
        return TrustedSigner(WantedSigner.of_fields(fields))
    try:
        return TrustedSigner(WantedSigner.of_fields(_drop_empty(key=target, identity=identity)))
    except InvalidInput as error:
        raise InvalidInput(f"no signer, and no file with one: {text[:80]}", fix=_HOW) from error


def _of_file(path: Path, identity: str) -> TrustedSigner:
    raw = path.read_bytes()[:_MOST_BYTES]
    if b"CERTIFICATE" not in raw:
        key = PemKey.parse(raw.decode("utf-8", "replace"))
        return TrustedSigner(WantedSigner.of_fields(_drop_empty(key=key.keyid, identity=identity)), key=key)
    certificates = load_authorities(raw)
    if len(certificates) != 1:
        raise InvalidInput(f"{path} holds {len(certificates)} certificates", fix="name one authority")
    signer = WantedSigner.of_fields(_drop_empty(ca=fingerprint(certificates[0]), identity=identity))
    return TrustedSigner(signer, authorities=tuple(certificates))


def _drop_empty(**fields: str) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
