"""Fetched bases: bounded, the oldest first, and never one that a run uses."""

import os

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.digest import Digest
from deltareg.wire import BaseInfo
from deltareg_verify.supervisor.base_cache import BaseCache


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def keep(cache, letter, *, used):
    """Put a base of 100 bytes into the cache and give what the registry says of it."""
    root = Digest("blake3", letter * 64)
    folder = cache.folder_path("bases", root)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    os.utime(folder, (used, used))
    return BaseInfo(
        name=letter,
        root=str(root),
        manifest_digest="sha256:0",
        model_type="llama",
        is_stored=True,
        location=None,
        tensors=1,
        logical_bytes=100,
        stored_bytes=100,
        created_at="2026-01-01T00:00:00Z",
        created_by="ada",
    )


def here(cache):
    return {entry.digest[0] for entry in cache.entries()}


def test_the_least_recently_used_go_until_the_rest_fits(cache):
    for used, letter in enumerate("abc", start=1):
        keep(cache, letter, used=used)

    freed = BaseCache(cache, max_bytes=150).trim()

    assert (freed, here(cache)) == (200, {"c"})


def test_without_a_limit_all_stay(cache):
    keep(cache, "a", used=1)

    assert BaseCache(cache, max_bytes=0).trim() == 0
    assert here(cache) == {"a"}


def test_one_in_use_stays_whoever_trims(cache):
    oldest = keep(cache, "a", used=1)
    keep(cache, "b", used=2)

    mine = BaseCache(cache, max_bytes=1)
    mine.hold(oldest)
    BaseCache(cache, max_bytes=1).trim()
    while_used = here(cache)
    mine.trim()

    assert (while_used, here(cache)) == ({"a"}, set())


def test_two_runs_use_one_base(cache):
    base = keep(cache, "a", used=1)
    mine, others = BaseCache(cache, max_bytes=1), BaseCache(cache, max_bytes=1)

    mine.hold(base)
    others.hold(base)
    others.trim()

    assert here(cache) == {"a"}
