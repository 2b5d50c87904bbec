"""Physical keys: made one way, read one way, and nothing else is one."""

from uuid import UUID, uuid4

import pytest

from deltareg.digest import Digest, sha256_of
from deltareg.errors import InvalidInput
from deltareg.store import fresh_key, parse_key
from deltareg.testing.stores.names import NO_KEYS

ZERO = Digest("sha256", "0" * 64)


@pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
def test_a_key_not_of_the_layout_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="not a key"):
        parse_key(key)


def test_a_fresh_key_reads_back_as_what_it_was_made_of() -> None:
    digest, attempt = sha256_of(b"x"), uuid4()

    key = fresh_key(digest, attempt=attempt)

    assert key == f"blobs/{digest.hex}/{attempt}"
    assert (parse_key(key).digest, parse_key(key).attempt) == (digest, attempt)
    assert str(parse_key(key)) == key


@pytest.mark.parametrize(
    ("digest", "attempt"),
    [
        (Digest("blake3", "0" * 64), uuid4()),
        (Digest("sha256", "0" * 63), uuid4()),
        (Digest("sha256", "../" * 20 + "0000"), uuid4()),
        (ZERO, UUID(int=0)),
    ],
)
def test_no_key_is_made_of_something_else(digest: Digest, attempt: UUID) -> None:
    with pytest.raises(InvalidInput):
        fresh_key(digest, attempt=attempt)
