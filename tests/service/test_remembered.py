"""What is remembered: for as long as it was said, by what was asked, and one works at a time."""

import threading

import pytest

from deltareg.service.timed_cache import AnswerCache


class Counted:
    """Gives 1, 2, 3 …, one for each time that it works."""

    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        return self.made


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def kept(now):
    return AnswerCache(most=2, clock=lambda: now[0])


def test_an_answer_is_given_again_for_its_time(kept, now):
    make = Counted()

    first = kept.get("a", make, keep_s=10)
    now[0] = 9.0
    again = kept.get("a", make, keep_s=10)
    now[0] = 10.0
    later = kept.get("a", make, keep_s=10)

    assert [first, again, later] == [1, 1, 2]


def test_what_was_not_asked_for_longest_goes_first(kept):
    make = Counted()
    for asked in ("a", "b", "a", "c", "a", "b"):
        kept.get(asked, make, keep_s=10)

    assert make.made == 4


def test_others_are_given_the_old_answer_while_one_works(kept, now):
    kept.get("a", lambda: "old", keep_s=10)
    now[0] = 20.0
    is_at_work, may_end = threading.Event(), threading.Event()

    def work():
        is_at_work.set()
        may_end.wait(60)
        return "new"

    worker = threading.Thread(target=kept.get, args=("a", work), kwargs={"keep_s": 10})
    worker.start()
    assert is_at_work.wait(60)
    beside = kept.get("a", lambda: "twice", keep_s=10)
    may_end.set()
    worker.join()

    assert beside == "old"
    assert kept.get("a", lambda: "twice", keep_s=10) == "new"


def test_a_failure_is_not_remembered(kept):
    def fail():
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        kept.get("a", fail, keep_s=10)

    assert kept.get("a", lambda: 1, keep_s=10) == 1
