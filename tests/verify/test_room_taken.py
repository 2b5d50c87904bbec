"""What a child has written to the disk, where no mount namespace keeps it off that."""

import os

from deltareg_verify.supervisor.disk_usage import MOST_ENTRIES, holds_more_than

LIMIT = 1 << 20


def test_an_empty_folder_and_one_that_is_gone_hold_nothing(tmp_path):
    assert not holds_more_than(tmp_path, 0)
    assert not holds_more_than(tmp_path / "gone", 0)


def test_bytes_are_counted_over_all_folders(tmp_path):
    for name in ("a", "b/c", "b/d/e"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(LIMIT // 2))

    assert holds_more_than(tmp_path, LIMIT)
    assert not holds_more_than(tmp_path, 4 * LIMIT)


def test_a_file_of_holes_takes_nothing(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)

    assert not holds_more_than(tmp_path, LIMIT)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "outside").write_bytes(os.urandom(2 * LIMIT))
    own = tmp_path / "own"
    own.mkdir()
    (own / "link").symlink_to(tmp_path / "outside")
    (own / "round").symlink_to(own)

    assert not holds_more_than(own, LIMIT)


def test_more_entries_than_a_run_makes_are_too_many(tmp_path):
    for number in range(MOST_ENTRIES + 1):
        (tmp_path / str(number)).touch()

    assert holds_more_than(tmp_path, LIMIT)
