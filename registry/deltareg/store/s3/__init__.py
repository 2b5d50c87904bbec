"""Buckets behind S3's interface; its library is loaded when one is opened."""

from deltareg.errors import StoreMisconfigured
from deltareg.store.blob_store import BlobStore
from deltareg.store.buckets import read_bucket_url
from deltareg.store.s3.options import S3Options
from deltareg.store.schemes import StoreScheme

__all__ = ["SCHEME", "S3Options"]


def _open(url: str, options: S3Options) -> BlobStore:
    bucket, prefix = read_bucket_url(url)
    try:
        from deltareg.store.s3.bucket import S3Store  # local stores need no S3 library
    except ModuleNotFoundError as error:
        raise StoreMisconfigured("this installation has no S3 library", fix="pip install 'deltareg[server]'") from error
    return S3Store(bucket, prefix, options=options)


SCHEME = StoreScheme("s3", "s3://bucket/prefix", _open, S3Options)
