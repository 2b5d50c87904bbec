"""Keys are listed, signed and refused as the layout says."""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from deltareg.digest import Digest, sha256_of
from deltareg.errors import InvalidInput
from deltareg.store import fresh_key
from deltareg.testing.stores.opened import ZERO, OpenedStore, catch, new_key, store_bytes

_GOOD = fresh_key(ZERO, attempt=uuid4())
NO_KEYS: Sequence[str] = (
    "",
    "/",
    ".",
    "..",
    "blobs",
    "blobs/",
    "x" * 5000,
    f"/{_GOOD}",
    f"{_GOOD}/",
    f"{_GOOD}\n",
    f" {_GOOD}",
    f"{_GOOD}\0",
    f"../{_GOOD}",
    f"./{_GOOD}",
    f"blobs/../{_GOOD}",
    f"{_GOOD}/../../../etc",
    "blobs/../../etc/passwd",
    "/etc/passwd",
    _GOOD.replace("/", "\\"),
    _GOOD.replace("/", "%2f"),
    _GOOD.upper(),
    _GOOD.replace("blobs", "BLOBS"),
    _GOOD.replace("blobs/", "blobs//"),
    _GOOD.replace("blobs/0", "blobs/\u0660"),
    _GOOD.replace("blobs", "tmp"),
    f"blobs/{'0' * 64}/..",
    f"blobs/{'0' * 64}/{UUID(int=0)}",
    f"blobs/{'0' * 63}/{uuid4()}",
    f"blobs/{'g' * 64}/{uuid4()}",
    f"blobs/{'0' * 64}/{{{uuid4()}}}",
    f"blobs/{'0' * 64}/{uuid4().hex}",
)
"""What is not of the layout of keys, which every call refuses."""
CASES: dict[str, tuple[object, ...]] = {
    "no_prefix": ("../", "/", "blobs/../", "blobs//", "blobs/%2e%2e/", "BLOBS", "a b")
}


class NameTests:
    """Listing, URLs, and names of others."""

    # Listing

    def test_listing_finds_every_object_once_over_many_pages(self, opened: OpenedStore) -> None:
        """With its size."""
        keys = [new_key(sha256_of(str(at % 40).encode())) for at in range(opened.many_keys)]
        for number, key in enumerate(keys):
            opened.store.write(key, [b"x" * (number % 7)])

        listed = list(opened.store.keys())

        assert sorted(listed) == sorted((key, number % 7) for number, key in enumerate(keys))

    def test_listing_an_empty_store_gives_nothing(self, opened: OpenedStore) -> None:
        """And is no error."""
        assert list(opened.store.keys()) == []

    def test_listing_by_prefix_gives_those_objects_only(self, opened: OpenedStore) -> None:
        """A prefix may end within a part of a key."""
        one, two = Digest("sha256", "ab" + "0" * 62), Digest("sha256", "ac" + "0" * 62)
        keys = [new_key(one), new_key(one), new_key(two)]
        for key in keys:
            opened.store.write(key, [b"x"])

        def list_keys(prefix: str) -> set[str]:
            return {key for key, _ in opened.store.keys(prefix)}

        assert list_keys("") == list_keys("blobs/") == list_keys("blobs/a") == set(keys)
        assert list_keys("blobs/ab") == list_keys(f"blobs/{one.hex}/") == set(keys[:2])
        assert list_keys(keys[2]) == list_keys(keys[2][:-3]) == {keys[2]}
        assert list_keys("blobs/f") == list_keys(f"{keys[2]}0") == list_keys("other/") == set()

    def test_a_prefix_that_no_key_has_is_refused(self, opened: OpenedStore, no_prefix: str) -> None:
        """By the call, not by the first item."""
        catch(InvalidInput, lambda: opened.store.keys(no_prefix))

    # Signed URLs, hostile keys and the store's own check

    def test_a_url_is_signed_or_left_to_the_api(self, opened: OpenedStore) -> None:
        """One that is signed is of the object, and carries more than its name."""
        key = store_bytes(opened.store, b"x")

        url = opened.store.url(key, expires_s=60)

        if url is not None:
            assert urlsplit(url).path.endswith(key)
            assert urlsplit(url).query

    def test_every_call_refuses_keys_not_of_the_layout(self, opened: OpenedStore) -> None:
        """Nobody gets out of the store by a name."""
        store = opened.store
        calls: list[Callable[[str], object]] = [
            lambda key: store.write(key, [b"x"]),
            store.read,
            store.size,
            store.delete,
            lambda key: store.url(key, expires_s=60),
        ]

        accepted = [(key, at) for key in NO_KEYS for at, call in enumerate(calls) if not refuses(call, key)]

        assert accepted == []

    def test_the_check_passes_and_leaves_nothing(self, opened: OpenedStore) -> None:
        """What it writes, it takes away."""
        opened.store.check()

        assert list(opened.store.keys()) == []
        assert opened.leftovers() == []


def refuses(call: Callable[[str], object], key: str) -> bool:
    """Tell whether a call refuses a key."""
    try:
        call(key)
    except InvalidInput:
        return True
    return False
