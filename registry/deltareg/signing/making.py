"""Creating signature bundles with OpenSSF model-signing, an optional extra loaded on demand.

The signed content is the list of files with their digests from a version's manifest: exactly the
files that a pull writes, so the folder need not be read again. The library creates the statement,
the signature and the bundle.
"""

# model-signing says of its paths that they are PathLike of anything.
# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from deltareg.errors import InvalidInput, Misconfigured, Unavailable
from deltareg.signing.keyless import INSTALL
from deltareg.signing.pem_keys import PemKey

if TYPE_CHECKING:
    from model_signing import hashing, signing

SIGSTORE = "sigstore"
_MOST_BYTES = 20_000
_MAKE = "make one: deltareg signature key FILE"


@dataclass(frozen=True, slots=True)
class SigningCredentials:
    """The credentials that sign a delta.

    Attributes:
        key: A private key on a curve of NIST, PEM; None for a Sigstore.
        certificate: The certificate of that key; None if only the key is used.
        chain: Its issuers' certificates, up to the authority's own.
        trust: The configuration of the Sigstore; None for the public one.
    """

    key: Path | None = None
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()
    trust: Path | None = None

    def check(self) -> None:
        """Check early that everything needed for signing is there.

        Raises:
            InvalidInput: The file contains no key, or options contradict each other.
            Misconfigured: Other users can read the key, or the library is not installed.
        """
        if self.key is None and (self.certificate is not None or self.chain):
            raise InvalidInput("a certificate goes with a key", fix="--sign KEY --certificate FILE")
        if bool(self.chain) != (self.certificate is not None):
            raise InvalidInput(
                "a certificate goes with its chain, up to the authority's own",
                fix="--certificate FILE --certificate-chain CA",
            )
        _library()
        self.public()

    def public(self) -> str:
        """Return the public key, in PEM, for verification; empty if the bundle contains it.

        Raises:
            InvalidInput: The file contains no key that can sign deltas.
            Misconfigured: Other users can read it.
        """
        if self.key is None:
            return ""
        key = read_private(self.key)
        return "" if self.certificate is not None else key.pem


def sign_files(name: str, files: Mapping[str, str], how: SigningCredentials) -> bytes:
    """Sign files, given by path with their sha256; return the bundle.

    Args:
        name: The folder's name, for people.
        files: The sha256 of each file, by path.
        how: The credentials.

    Raises:
        InvalidInput: Key and certificate do not match.
        Misconfigured: The library is not installed.
        Unavailable: No Sigstore can be reached, or it rejected the identity.
    """
    config = _library().set_hashing_config(_wrap_digests(files))
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "model.sig"
        if how.key is None:
            _sign_keyless(config, Path(name), bundle, how)
        else:
            try:
                _with_key(config, how.key, how).sign(Path(name), bundle)
            except (OSError, ValueError, TypeError) as error:
                raise InvalidInput(f"cannot sign with {how.key}: {error}", fix=_MAKE) from error
        return bundle.read_bytes()


def read_private(path: Path) -> PemKey:
    """Return the public half of a private key in a file of its owner.

    Raises:
        InvalidInput: There is no such file, or it contains no key that can sign deltas.
        Misconfigured: Other users can read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_MOST_BYTES)
    except OSError as error:
        raise InvalidInput(f"no key in {path}: {error.strerror}", fix=_MAKE) from error
    if os.name == "posix" and mode & 0o077:
        raise Misconfigured(
            f"others can read the key in {path} (mode {mode:03o})",
            fix=f"chmod 600 {path}, and make a new key if others use this machine",
        )
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise InvalidInput(f"{path} holds no private key in PEM without a passphrase", fix=_MAKE) from error
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = PemKey.parse(public.decode())
    if not key.is_elliptic:
        raise InvalidInput(f"the key in {path} is not on a curve of NIST", fix=_MAKE)
    return key


def make_private() -> bytes:
    """Create a private key for signing deltas: PKCS#8 in PEM, on the curve P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _with_key(config: "signing.Config", key: Path, how: SigningCredentials) -> "signing.Config":
    if how.certificate is None:
        return config.use_elliptic_key_signer(private_key=key)
    return config.use_certificate_signer(
        private_key=key, signing_certificate=how.certificate, certificate_chain=how.chain
    )


def _sign_keyless(config: "signing.Config", name: Path, bundle: Path, how: SigningCredentials) -> None:
    from sigstore.errors import Error
    from sigstore.oidc import IdentityError

    try:
        config.use_sigstore_signer(use_ambient_credentials=True, trust_config=how.trust)
        config.sign(name, bundle)
    except (Error, IdentityError, OSError, ValueError) as error:
        raise Unavailable(
            f"no Sigstore has signed it: {type(error).__name__}: {str(error)[:160]}",
            fix="signing without a key needs the network and an identity that the Sigstore knows;"
            " with a key it needs neither: --sign KEY",
        ) from error


def _wrap_digests(files: Mapping[str, str]) -> "hashing.Config":
    """Return a model-signing config that takes known digests instead of hashing a folder."""
    from model_signing import hashing, manifest
    from model_signing._hashing.hashing import Digest

    serialization = manifest.SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    )
    items = [serialization.new_item(path, Digest("sha256", bytes.fromhex(digest))) for path, digest in files.items()]

    class KnownDigests(hashing.Config):
        """Digests that are known already, for model-signing."""

        def __init__(self) -> None:
            """Start without any digests of a folder."""
            super().__init__()  # type: ignore[no-untyped-call]  # the library has no types there

        def hash(self, model_path: hashing.PathLike, *, files_to_hash: object = None) -> manifest.Manifest:
            """Return the known digests."""
            return manifest.Manifest(Path(os.fsdecode(model_path)).name, items, serialization)

    return KnownDigests()


def _library() -> "signing.Config":
    try:
        from model_signing import signing
    except ImportError as error:
        raise Misconfigured("signing needs OpenSSF model-signing", fix=INSTALL) from error
    return signing.Config()
