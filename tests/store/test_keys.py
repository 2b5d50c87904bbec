"""Physical keys: made one way, read one way, and nothing else is one."""

from uuid import UUID, uuid4

import pytest

from deltareg.digest import Digest, sha256_of
from deltareg.errors import InvalidInput
from deltareg.store import fresh_key, parse_key

ZERO = Digest("sha256", "0" * 64)
GOOD = fresh_key(ZERO, attempt=uuid4())
HOSTILE = [
    "",
    "/",
    ".",
    "..",
    "blobs",
    "blobs/",
    "x" * 5000,
    f"/{GOOD}",
    f"{GOOD}/",
    f"{GOOD}\n",
    f" {GOOD}",
    f"{GOOD}\0",
    f"../{GOOD}",
    f"./{GOOD}",
    f"blobs/../{GOOD}",
    f"{GOOD}/../../../etc",
    "blobs/../../etc/passwd",
    "/etc/passwd",
    GOOD.replace("/", "\\"),
    GOOD.replace("/", "%2f"),
    GOOD.upper(),
    GOOD.replace("blobs", "BLOBS"),
    GOOD.replace("blobs/", "blobs//"),
    GOOD.replace("blobs/0", "blobs/\u0660"),
    GOOD.replace("blobs", "tmp"),
    f"blobs/{'0' * 64}/..",
    f"blobs/{'0' * 64}/{UUID(int=0)}",
    f"blobs/{'0' * 63}/{uuid4()}",
    f"blobs/{'g' * 64}/{uuid4()}",
    f"blobs/{'0' * 64}/{{{uuid4()}}}",
    f"blobs/{'0' * 64}/{uuid4().hex}",
]


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
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
