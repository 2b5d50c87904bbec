"""The cache's list of what is there, and pruning, while other processes fill it."""

import os
import time
from threading import Event, Thread

from deltareg.client.cache.cache import Cache
from deltareg.client.disk.kept_files import put, remove
from deltareg.client.disk.whole_folder import place_folder

DIGEST = "ab" * 32
DAY_S = 86_400


def test_a_folder_that_somebody_fills_is_no_entry_and_is_not_pruned(tmp_path):
    cache = Cache(tmp_path)

    with place_folder(tmp_path / "snapshots" / DIGEST) as draft:
        (draft / "a").write_bytes(b"12345")
        listed = cache.entries()
        pruned = cache.prune(max_bytes=0)

    assert listed == []
    assert pruned.removed == 0
    assert [entry.size_bytes for entry in cache.entries()] == [5]


def test_what_a_killed_process_left_half_filled_goes_after_a_while(tmp_path):
    cache = Cache(tmp_path)
    draft = tmp_path / "bases" / ".deltareg-1-2"
    draft.mkdir(parents=True)
    os.utime(draft, (time.time() - 3 * DAY_S,) * 2)

    cache.prune()

    assert not draft.exists()


def test_a_list_is_made_while_folders_come_and_go(tmp_path):
    cache, ended = Cache(tmp_path), Event()

    def churn():
        while not ended.is_set():
            with place_folder(tmp_path / "snapshots" / DIGEST) as draft:
                for number in range(5):
                    (draft / str(number)).write_bytes(b"1")
            cache.prune(max_bytes=0)

    rival = Thread(target=churn)
    rival.start()
    try:
        sizes = {entry.size_bytes for _ in range(500) for entry in cache.entries()}
    finally:
        ended.set()
        rival.join()

    assert sizes <= set(range(6))


def test_a_file_gets_its_name_while_its_folder_comes_and_goes(tmp_path):
    folder, ended = tmp_path / "parts" / "ab", Event()

    def churn():
        while not ended.is_set():
            remove(folder)

    rival = Thread(target=churn)
    rival.start()
    try:
        for number in range(500):
            draft = tmp_path / str(number)
            draft.write_bytes(b"1")
            put(draft, folder / str(number))
    finally:
        ended.set()
        rival.join()
