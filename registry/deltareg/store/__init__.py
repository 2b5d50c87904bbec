"""Where blobs live: a folder, a bucket or memory, behind one protocol.

Open one with `open_store`; nothing outside this package imports an implementation, and the library
of a store is loaded only when one is opened.
"""

from deltareg.errors import StoreMisconfigured
from deltareg.store.blob_store import BlobKey, BlobStore, fresh_key, parse_key
from deltareg.store.fallback import FallbackReads
from deltareg.store.schemes import find_scheme, read_options

__all__ = ["BlobKey", "BlobStore", "FallbackReads", "fresh_key", "open_store", "parse_key", "read_options"]


def open_store(url: str, *, options: object = None) -> BlobStore:
    """Open the store that a URL names; `check()` on it tells whether it works.

    Args:
        url: `file:///absolute/folder`, `s3://bucket/prefix`, `gs://bucket/prefix`, `memory://`, or
            the URL of a store that another distribution brings. Each opening of `memory://` gives a
            new, empty store.
        options: What `read_options` gave for it; as if nothing were set when None.

    Raises:
        StoreMisconfigured: The URL is none of these, or what it names cannot be used.
    """
    scheme = find_scheme(url)
    given = scheme.options() if options is None else options
    if not isinstance(given, scheme.options):
        raise StoreMisconfigured(f"the options of {scheme.name}:// are {scheme.options.__name__}")
    return scheme.open(url, given)
