"""What is read is what was written, all of it or a range, and what is missing is said to be."""

import hashlib

from deltareg.digest import sha256_of
from deltareg.errors import BlobMissing, IntegrityFailure, InvalidInput
from deltareg.store.blob_store import CHUNK_BYTES
from deltareg.testing.stores.opened import (
    MIB,
    PART_BYTES,
    OpenedStore,
    Span,
    catch,
    content,
    cut,
    digest_of,
    new_key,
    store_bytes,
)

CASES: dict[str, tuple[object, ...]] = {
    "size": (0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 20 * MIB),
    "past_end": ((0, 11), (10, 11), (11, None), (11, 11), (4, 1000)),
    "backwards": ((-1, None), (5, 4), (-3, -1)),
    "of_missing": ((0, 0), (3, 9)),
}


class ReadTests:
    """Reading."""

    # Round trips

    def test_bytes_come_back_as_they_went_in(self, opened: OpenedStore, size: int) -> None:
        """Whatever the size, and however they were cut."""
        store, data = opened.store, content(size)
        key = new_key(sha256_of(data))

        written = store.write(key, cut(data, 300_001))

        assert written == size
        assert store.size(key) == size
        assert digest_of(store.read(key)) == hashlib.sha256(data).hexdigest()

    def test_a_body_of_one_huge_chunk_is_stored(self, opened: OpenedStore) -> None:
        """A chunk may be longer than what is sent at once."""
        data = content(2 * PART_BYTES + 5)

        key = store_bytes(opened.store, data)

        assert digest_of(opened.store.read(key)) == hashlib.sha256(data).hexdigest()

    def test_empty_chunks_in_a_body_are_harmless(self, opened: OpenedStore) -> None:
        """They end nothing."""
        key = new_key()

        written = opened.store.write(key, [b"", b"ab", b"", b"c", b""])

        assert written == 3
        assert b"".join(opened.store.read(key)) == b"abc"

    def test_a_body_without_chunks_is_an_empty_object(self, opened: OpenedStore) -> None:
        """It is an object like any other."""
        key = new_key()

        written = opened.store.write(key, iter(()))

        assert written == 0
        assert list(opened.store.keys()) == [(key, 0)]

    def test_no_chunk_read_is_longer_than_a_mebibyte(self, opened: OpenedStore) -> None:
        """Readers count on it."""
        key = store_bytes(opened.store, content(3 * MIB + 1))

        lengths = [len(chunk) for chunk in opened.store.read(key)]

        assert max(lengths) <= CHUNK_BYTES
        assert sum(lengths) == 3 * MIB + 1

    def test_two_attempts_at_the_same_bytes_are_two_objects(self, opened: OpenedStore) -> None:
        """Deleting one leaves the other."""
        first, second = store_bytes(opened.store, b"same"), store_bytes(opened.store, b"same")

        opened.store.delete(first)

        assert opened.store.size(first) is None
        assert b"".join(opened.store.read(second)) == b"same"

    # Ranges

    def test_a_range_gives_exactly_its_bytes(self, opened: OpenedStore) -> None:
        """At the ends, around what is sent at once, and where it is empty."""
        data, end = content(PART_BYTES + 10), PART_BYTES + 10
        key = store_bytes(opened.store, data)
        ranges: list[Span] = [
            (0, 1),
            (0, None),
            (0, 0),
            (5, 5),
            (7, None),
            (100, 4096),
            (PART_BYTES - 3, end - 7),
            (PART_BYTES, None),
            (end - 1, end),
            (end, None),
            (end, end),
            (0, end),
            (1, PART_BYTES),
        ]

        wrong = [
            (start, stop) for start, stop in ranges if b"".join(opened.store.read(key, start, stop)) != data[start:stop]
        ]

        assert wrong == []

    def test_a_range_past_the_end_is_an_error_and_not_short(self, opened: OpenedStore, past_end: Span) -> None:
        """The call says so, before the first byte."""
        key = store_bytes(opened.store, b"0123456789")

        error = catch(IntegrityFailure, lambda: opened.store.read(key, *past_end))

        assert "which has 10" in str(error)

    def test_a_range_that_runs_backwards_is_refused(self, opened: OpenedStore, backwards: Span) -> None:
        """As is one from before the start."""
        key = store_bytes(opened.store, b"0123456789")

        error = catch(InvalidInput, lambda: opened.store.read(key, *backwards))

        assert "not a range" in str(error)

    def test_an_abandoned_read_leaves_the_store_usable(self, opened: OpenedStore) -> None:
        """A reader may go away before its first byte, and after it."""
        data = content(4 * MIB)
        key = store_bytes(opened.store, data)

        never_begun, begun = opened.store.read(key), opened.store.read(key)
        first = next(begun)
        del never_begun, begun

        assert data.startswith(first)
        assert digest_of(opened.store.read(key)) == hashlib.sha256(data).hexdigest()

    # What is missing, and deletion

    def test_reading_a_missing_object_fails_before_the_first_byte(self, opened: OpenedStore) -> None:
        """The call itself says so."""
        key = new_key()

        assert catch(BlobMissing, lambda: opened.store.read(key)).key == key

    def test_a_range_of_a_missing_object_is_missing(self, opened: OpenedStore, of_missing: Span) -> None:
        """An empty one as well."""
        catch(BlobMissing, lambda: opened.store.read(new_key(), *of_missing))

    def test_a_missing_object_has_no_size(self, opened: OpenedStore) -> None:
        """It is None, and no error."""
        assert opened.store.size(new_key()) is None

    def test_deleting_twice_is_no_error(self, opened: OpenedStore) -> None:
        """What is deleted is gone for all calls."""
        key = store_bytes(opened.store, b"x")

        opened.store.delete(key)
        opened.store.delete(key)

        assert opened.store.size(key) is None
        assert list(opened.store.keys()) == []
        catch(BlobMissing, lambda: opened.store.read(key))

    def test_deleting_what_never_was_is_no_error(self, opened: OpenedStore) -> None:
        """Nothing comes of it either."""
        opened.store.delete(new_key())

        assert list(opened.store.keys()) == []
