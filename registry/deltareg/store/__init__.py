"""Where blobs live: a folder, a bucket or memory, behind one protocol.

Open one with `open_store`; nothing outside this package imports an implementation, and the S3
library is loaded only when a bucket is opened.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deltareg.errors import StoreMisconfigured
from deltareg.store.blob_store import BlobKey, BlobStore, fresh_key, parse_key
from deltareg.store.local import LocalStore
from deltareg.store.memory import MemoryStore
from deltareg.store.s3_options import S3Options

__all__ = ["BlobKey", "BlobStore", "S3Options", "fresh_key", "open_store", "parse_key"]

_PREFIX = re.compile(r"(?:[A-Za-z0-9!_'()*-][A-Za-z0-9!_.'()*-]*/)*")
_FORMS = "write file:///absolute/folder, s3://bucket/prefix or memory://"


def open_store(url: str, *, options: S3Options | None = None) -> BlobStore:
    """Open the store that a URL names; `check()` on it tells whether it works.

    Args:
        url: `file:///absolute/folder`, `s3://bucket/prefix` or `memory://`. Each opening of
            `memory://` gives a new, empty store.
        options: How to reach the bucket; AWS with the machine's own role when None.

    Raises:
        StoreMisconfigured: The URL is none of these, or the folder cannot be used.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            return MemoryStore()
        case "file":
            return LocalStore(_folder(url))
        case "s3":
            return _open_bucket(url, options or S3Options())
        case _:
            raise StoreMisconfigured(f"not the URL of a store: {url!r}", fix=_FORMS)


def _folder(url: str) -> Path:
    """Read the path out of a `file` URL."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in {"", "localhost"} or not path.is_absolute() or "\0" in str(path):
        raise StoreMisconfigured(f"not the URL of a local folder: {url!r}", fix=_FORMS)
    return path


def _open_bucket(url: str, options: S3Options) -> BlobStore:
    """Read bucket and prefix out of an `s3` URL and open them."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
    if not parts.netloc or parts.query or parts.fragment or _PREFIX.fullmatch(prefix) is None:
        raise StoreMisconfigured(f"not the URL of a bucket: {url!r}", fix=_FORMS)
    try:
        from deltareg.store.s3 import S3Store  # local stores need no S3 library
    except ModuleNotFoundError as error:
        raise StoreMisconfigured("this installation has no S3 library", fix="pip install 'deltareg[server]'") from error
    return S3Store(parts.netloc, prefix, options=options)
