"""The local store: what is durable when, what a full disk and a kill leave behind."""

import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deltareg.digest import Digest, sha256_of, sha256_over
from deltareg.errors import DiskFull, IntegrityFailure, InvalidInput, StoreMisconfigured, StoreUnavailable
from deltareg.store import BlobStore, fresh_key, open_store, parse_key

MIB = 1 << 20
CHILD_TIMEOUT_S = 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> BlobStore:
    return open_store(root.as_uri())


def new_key(digest: Digest | None = None) -> str:
    return fresh_key(digest or sha256_of(b"x"), attempt=uuid4())


def temporary_files(root: Path) -> list[Path]:
    return list((root / "tmp").iterdir())


# Durability


@pytest.fixture
def calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record, in order, the calls that decide what survives a loss of power; each is made."""
    seen: list[str] = []
    fsync, link, unlink = os.fsync, os.link, os.unlink

    def name(path: str | Path) -> str:
        relative = Path(path).relative_to(root)
        return "tmp/…" if relative.parts[0] == "tmp" else str(relative)

    def watched_fsync(descriptor: int) -> None:
        seen.append(f"fsync {name(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def watched_link(source: Path, target: Path, **options: bool) -> None:
        seen.append(f"link {name(source)} {name(target)}")
        link(source, target, **options)

    def watched_unlink(path: Path) -> None:
        seen.append(f"unlink {name(path)}")
        unlink(path)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "link", watched_link)
    monkeypatch.setattr(os, "unlink", watched_unlink)
    return seen


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name descriptors")
def test_bytes_reach_the_disk_before_their_name_and_the_name_before_the_return(
    store: BlobStore, calls: list[str]
) -> None:
    key = new_key()

    store.write(key, [b"x"])

    assert calls == ["fsync tmp/…", f"link tmp/… {key}", f"fsync {Path(key).parent}", "fsync blobs", "unlink tmp/…"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name descriptors")
def test_a_deletion_reaches_the_disk(store: BlobStore, calls: list[str]) -> None:
    key = new_key()
    store.write(key, [b"x"])
    calls.clear()

    store.delete(key)

    assert calls == [f"unlink {key}", f"fsync {Path(key).parent}"]


def test_objects_are_private_and_read_only(root: Path, store: BlobStore) -> None:
    key = new_key()

    store.write(key, [b"x"])

    assert (root / key).stat().st_mode & 0o777 == 0o400
    assert {path.stat().st_mode & 0o777 for path in (root, root / "blobs", root / "tmp")} == {0o700}


def test_a_deletion_takes_the_empty_folder_along(root: Path, store: BlobStore) -> None:
    key = new_key()
    store.write(key, [b"x"])

    store.delete(key)

    assert list((root / "blobs").iterdir()) == []


def test_an_object_stays_after_the_store_is_opened_again(root: Path, store: BlobStore) -> None:
    key = new_key()
    store.write(key, [b"x"])

    again = open_store(root.as_uri())

    assert b"".join(again.read(key)) == b"x"


def test_a_folder_that_a_deletion_takes_away_is_made_again(
    root: Path, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, link = new_key(), os.link

    def link_after_a_deletion(source: Path, target: Path, **options: bool) -> None:
        monkeypatch.setattr(os, "link", link)
        Path(target).parent.rmdir()
        link(source, target, **options)

    monkeypatch.setattr(os, "link", link_after_a_deletion)

    store.write(key, [b"x"])

    assert b"".join(store.read(key)) == b"x"


# A full disk


@pytest.fixture
def file_limit() -> Iterator[int]:
    """Let no file of this process grow beyond a mebibyte; Python turns the signal into an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    yield MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_grow_is_a_full_disk(root: Path, store: BlobStore, file_limit: int) -> None:
    key = new_key()

    with pytest.raises(DiskFull, match="no room"):
        store.write(key, [b"x" * (file_limit + 1)])

    assert store.size(key) is None
    assert temporary_files(root) == []
    assert store.write(key, [b"x" * file_limit]) == file_limit


ON_A_TINY_DISK = """
import sys
from pathlib import Path
from uuid import uuid4
from deltareg.digest import sha256_of
from deltareg.errors import DiskFull
from deltareg.store import fresh_key, open_store

root = Path(sys.argv[1])
store = open_store(root.as_uri())
key = fresh_key(sha256_of(b"x"), attempt=uuid4())
try:
    store.write(key, [b"x" * 65536] * 32)
except DiskFull as error:
    print(error.message)
assert store.size(key) is None
assert not list((root / "tmp").iterdir())
assert store.write(key, [b"fits"]) == 4
"""


def test_a_disk_without_room_is_a_full_disk(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1"'
    if shutil.which("unshare") is None or in_private_mounts(mount, str(tmp_path)).returncode:
        pytest.skip("needs unshare with user namespaces, to mount a tiny disk")
    run = f'{mount} && exec "$2" -c "$3" "$1/store"'

    done = in_private_mounts(run, str(tmp_path), sys.executable, ON_A_TINY_DISK)

    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout


def in_private_mounts(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *arguments],
        check=False,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=CHILD_TIMEOUT_S,
    )


# Kills

STUCK_WRITER = """
import sys
from pathlib import Path
from deltareg.store import open_store

def body():
    yield b"x" * (3 << 20)
    print("begun", flush=True)
    sys.stdin.read()

open_store(sys.argv[1]).write(sys.argv[2], body())
"""

BUSY_WRITER = """
import sys
from uuid import uuid4
from deltareg.digest import sha256_of
from deltareg.store import fresh_key, open_store

store = open_store(sys.argv[1])
for number in range(1_000_000):
    data = number.to_bytes(8, "big") * 4096
    key = fresh_key(sha256_of(data), attempt=uuid4())
    store.write(key, [data[:20_000], data[20_000:]])
    print(key, flush=True)
"""


def child_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], CHILD_TIMEOUT_S)
    assert ready, "the child said nothing"
    return process.stdout.readline().strip()


def test_a_writer_killed_in_the_middle_leaves_no_object(root: Path) -> None:
    key = new_key()
    with started(STUCK_WRITER, root.as_uri(), key) as writer:
        assert line_of(writer) == "begun"
        left = temporary_files(root)

        writer.send_signal(signal.SIGKILL)
        writer.wait()

    assert [path.stat().st_size for path in left] == [3 * MIB]
    store = open_store(root.as_uri())
    assert store.size(key) is None
    assert list(store.keys()) == []
    assert temporary_files(root) == []


def test_opening_the_store_leaves_the_files_of_live_writers_alone(root: Path) -> None:
    key = new_key()
    with started(STUCK_WRITER, root.as_uri(), key) as writer:
        assert line_of(writer) == "begun"

        store = open_store(root.as_uri())
        during = len(temporary_files(root))
        _, _ = writer.communicate(timeout=CHILD_TIMEOUT_S)

    assert during == 1
    assert writer.returncode == 0
    assert store.size(key) == 3 * MIB


@pytest.mark.parametrize("acknowledged", [1, 2, 3, 5, 8, 13, 21, 34])
def test_a_kill_loses_no_acknowledged_object_and_shows_no_part_of_one(root: Path, acknowledged: int) -> None:
    with started(BUSY_WRITER, root.as_uri()) as writer:
        keys = {line_of(writer) for _ in range(acknowledged)}

        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        keys |= set(writer.stdout.read().split())

    store = open_store(root.as_uri())
    listed = set(dict(store.keys()))
    assert keys <= listed
    assert {sha256_over(store.read(key)) for key in listed} == {parse_key(key).digest for key in listed}
    assert temporary_files(root) == []


# Damage and wrong folders


def test_a_file_cut_short_under_a_reader_is_an_error(root: Path, store: BlobStore) -> None:
    key = new_key()
    store.write(key, [b"x" * (3 * MIB)])
    chunks = store.read(key)
    next(chunks)

    os.truncate(root / key, 3 * MIB // 2)

    with pytest.raises(IntegrityFailure, match=f"ended at byte {3 * MIB // 2}"):
        list(chunks)


def test_files_that_are_not_objects_are_not_listed(root: Path, store: BlobStore) -> None:
    key = new_key()
    store.write(key, [b"x"])

    (root / "blobs" / "README").write_text("x")
    (root / "blobs" / "lost+found").mkdir()
    (root / key).with_name("notes.txt").write_text("x")

    assert list(store.keys()) == [(key, 1)]


def test_a_file_in_place_of_the_folder_is_a_wrong_setting(root: Path) -> None:
    root.write_text("x")

    with pytest.raises(StoreMisconfigured, match="cannot be used"):
        open_store(root.as_uri())


def test_a_folder_that_went_away_is_a_wrong_setting_and_not_a_missing_object(root: Path, store: BlobStore) -> None:
    shutil.rmtree(root)

    calls: list[Callable[[], object]] = [
        lambda: store.write(new_key(), [b"x"]),
        lambda: store.read(new_key()),
        lambda: store.size(new_key()),
        lambda: store.delete(new_key()),
        lambda: list(store.keys()),
        store.check,
    ]
    for call in calls:
        with pytest.raises(StoreMisconfigured, match="No such file"):
            call()


def test_a_temporary_file_taken_away_is_worth_a_retry(root: Path, store: BlobStore) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        for path in temporary_files(root):
            path.unlink()

    with pytest.raises(StoreUnavailable, match="vanished"):
        store.write(new_key(), body())

    assert list(store.keys()) == []


def test_errors_of_the_operating_system_in_a_body_pass_through(store: BlobStore) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        raise TimeoutError("the client is gone")

    with pytest.raises(TimeoutError):
        store.write(new_key(), body())


def test_a_url_is_refused_for_a_hostile_key_too(store: BlobStore) -> None:
    with pytest.raises(InvalidInput):
        store.url("../x", expires_s=1)
