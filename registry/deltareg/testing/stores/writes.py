"""What is written is there whole or not at all, for good, and by as many as want to."""

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest import SkipTest

from deltareg.digest import sha256_of
from deltareg.errors import Conflict, InvalidInput
from deltareg.testing.stores.opened import (
    BLOCK,
    MIB,
    PART_BYTES,
    OpenedStore,
    catch,
    content,
    cut,
    failing_body,
    new_key,
    store_bytes,
)

_WRITE_PEAK, _READ_PEAK = 20 * MIB, 8 * MIB
_EVIDENCE = [f"log/0a-{log}/{size:018}-{'ab' * 8}" for log, size in (("1", 3), ("1", 20), ("2", 7))]
CASES: dict[str, tuple[object, ...]] = {
    "long_size": (3, PART_BYTES + 1),
    "cut_size": (0, MIB, PART_BYTES, 2 * PART_BYTES + MIB),
    "no_evidence": ("", "log/1/2", "blobs/x", _EVIDENCE[0] + "/..", "log/../" + _EVIDENCE[0][4:], "/" + _EVIDENCE[0]),
}


class WriteTests:
    """Writing, and keeping evidence."""

    # Objects never change

    def test_a_second_write_to_a_key_is_refused(self, opened: OpenedStore, long_size: int) -> None:
        """The first one stays, and no part of the second is left."""
        key = store_bytes(opened.store, b"first")

        error = catch(Conflict, lambda: opened.store.write(key, cut(content(long_size), MIB)))

        assert "fresh key" in str(error)
        assert b"".join(opened.store.read(key)) == b"first"
        assert opened.leftovers() == []

    def test_a_body_that_raises_leaves_nothing_behind(self, opened: OpenedStore, cut_size: int) -> None:
        """Its own exception passes."""
        key = new_key()

        catch(ConnectionResetError, lambda: opened.store.write(key, failing_body(cut_size)))

        assert opened.store.size(key) is None
        assert list(opened.store.keys()) == []
        assert opened.leftovers() == []

    def test_a_key_whose_body_raised_can_still_be_written(self, opened: OpenedStore) -> None:
        """Nothing holds it."""
        key = new_key()
        catch(ConnectionResetError, lambda: opened.store.write(key, failing_body(MIB)))

        opened.store.write(key, [b"whole"])

        assert b"".join(opened.store.read(key)) == b"whole"

    def test_an_object_is_not_visible_while_it_is_written(self, opened: OpenedStore) -> None:
        """Readers see all of it or nothing."""
        key = new_key()
        seen: list[object] = []

        def watched_body() -> Iterator[bytes]:
            for chunk in cut(content(PART_BYTES + MIB), MIB):
                yield chunk
                seen.append(opened.store.size(key))

        opened.store.write(key, watched_body())

        assert set(seen) == {None}
        assert opened.store.size(key) == PART_BYTES + MIB

    # Threads

    def test_writers_of_distinct_keys_do_not_disturb_each_other(self, opened: OpenedStore) -> None:
        """One store is shared by all threads."""
        bodies = [content(MIB)[at:] for at in range(16)]
        keys = [new_key(sha256_of(body)) for body in bodies]

        def write(key: str, body: bytes) -> int:
            return opened.store.write(key, cut(body, 65_537))

        def read(key: str) -> bytes:
            return b"".join(opened.store.read(key))

        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(write, keys, bodies))
            got = list(pool.map(read, keys))

        assert sizes == [len(body) for body in bodies]
        assert got == bodies
        assert dict(opened.store.keys()) == dict(zip(keys, sizes, strict=True))
        assert opened.leftovers() == []

    def test_attempts_at_one_digest_may_come_and_go_at_once(self, opened: OpenedStore) -> None:
        """Deleting one never takes what another writes."""
        digest = sha256_of(b"same")

        def come_and_go(_: int) -> bytes:
            key = new_key(digest)
            opened.store.write(key, [b"same"])
            got = b"".join(opened.store.read(key))
            opened.store.delete(key)
            return got

        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(come_and_go, range(24)))

        assert set(got) == {b"same"}
        assert list(opened.store.keys()) == []

    def test_a_long_stream_takes_little_memory(self, opened: OpenedStore) -> None:
        """Whatever its length."""
        if not opened.is_streaming:
            raise SkipTest("it holds objects whole")
        store, key, blocks = opened.store, new_key(), 48
        store.check()  # what a library loads once is not the stream's

        tracemalloc.start()
        written = store.write(key, (BLOCK for _ in range(blocks)))
        _, write_peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        length = sum(len(chunk) for chunk in store.read(key))
        _, read_peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert written == length == blocks * MIB
        assert write_peak < _WRITE_PEAK
        assert read_peak < _READ_PEAK

    # Evidence: kept beside the objects, out of the reach of collection

    def test_evidence_is_given_in_its_order_and_is_no_object(self, opened: OpenedStore) -> None:
        """One log is not mixed with another."""
        for name in reversed(_EVIDENCE):
            opened.store.keep(name, name.encode())

        assert [each.decode() for each in opened.store.read_log("0a-1")] == _EVIDENCE[:2]
        assert list(opened.store.read_log("0a-3")) == []
        assert list(opened.store.keys()) == []

    def test_evidence_is_never_replaced(self, opened: OpenedStore) -> None:
        """What was kept first stays."""
        name = _EVIDENCE[0].replace("0a-1", "0a-4")
        opened.store.keep(name, b"first")

        opened.store.keep(name, b"second")

        assert list(opened.store.read_log("0a-4")) == [b"first"]

    def test_only_what_tells_of_a_backup_is_deleted(self, opened: OpenedStore) -> None:
        """All other evidence stays."""
        first, second, other = (
            _EVIDENCE[at].replace("0a-1", log) for at, log in ((0, "backups"), (1, "backups"), (0, "0a-5"))
        )
        for name in (first, second, other):
            opened.store.keep(name, name.encode())

        for _ in range(2):
            opened.store.delete(first)
        catch(InvalidInput, lambda: opened.store.delete(other))

        assert [each.decode() for each in opened.store.read_log("backups")] == [second]
        assert [each.decode() for each in opened.store.read_log("0a-5")] == [other]

    def test_a_name_that_is_none_of_evidence_is_refused(self, opened: OpenedStore, no_evidence: str) -> None:
        """By both calls."""
        catch(InvalidInput, lambda: opened.store.keep(no_evidence, b"x"))
        catch(InvalidInput, lambda: list(opened.store.read_log("../" + no_evidence)))
