"""Rates: what they let through is what the library lets through, and the headers say it."""

import re
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from deltareg.api.overload.rates import BAD_TOKENS, Rates
from deltareg.api.overload.windows import WindowStore


class Clock:
    """A clock that is set."""

    def __init__(self, at=1_000_000.0):
        self.at = at

    def __call__(self):
        return self.at


@given(st.lists(st.floats(0, 90), min_size=1, max_size=80), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_no_minute_has_many_more_than_the_limit(pauses, limit):
    """Held against the times themselves: a sliding counter is never off by more than the limit again."""
    clock = Clock()
    limiter, item = SlidingWindowCounterRateLimiter(WindowStore(clock=clock)), RateLimitItemPerMinute(limit)
    let_in: deque[float] = deque()
    for pause in pauses:
        clock.at += pause
        while let_in and let_in[0] <= clock.at - 120:
            let_in.popleft()
        if limiter.hit(item, "a"):
            let_in.append(clock.at)
            assert sum(at > clock.at - 60 for at in let_in) < 2 * limit + 1
        elif not let_in:
            raise AssertionError("refused, and nobody was let in for two minutes")


def test_it_counts_as_the_librarys_own_storage(monkeypatch):
    """The same hits at the same times, on the two storages; the library reads the time by itself."""
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    ours = SlidingWindowCounterRateLimiter(WindowStore(clock=clock))
    theirs = SlidingWindowCounterRateLimiter(MemoryStorage())
    item = RateLimitItemPerMinute(7)

    for step in range(400):
        clock.at += (step * 37 % 11) * 0.913
        key = "ab"[step % 2]
        assert ours.hit(item, key) == theirs.hit(item, key), step
        mine, other = ours.get_window_stats(item, key), theirs.get_window_stats(item, key)
        assert (round(mine.reset_time, 6), mine.remaining) == (round(other.reset_time, 6), other.remaining)


def test_keys_that_somebody_makes_up_do_not_fill_the_memory():
    store = WindowStore()
    limiter, item = SlidingWindowCounterRateLimiter(store), RateLimitItemPerMinute(5)

    for number in range(21_000):
        limiter.hit(item, str(number))

    assert store.reset() == 20_000


def test_the_headers_say_what_is_left():
    rates = Rates(3)
    told = [dict(rates.count(7, "a")[0]) for _ in range(4)]
    _, refusal = rates.count(7, "a")

    assert told[0] == {}  # not half of it is used
    told = told[1:]
    left = [re.findall(rb'"principal";r=(\d);t=\d+', one[b"ratelimit"]) for one in told]
    assert left == [[b"1"], [b"0"], [b"0"]]
    assert {one[b"ratelimit-policy"] for one in told} == {b'"principal";q=3;w=60'}
    assert refusal is not None
    assert (refusal.code, 1 <= refusal.retry_after_s <= 60) == ("rate_limited", True)


def test_one_principal_is_not_another_and_no_address():
    rates = Rates(4)
    for _ in range(5):
        rates.count(1, "a")

    assert rates.count(1, "b")[1] is not None
    assert rates.count(2, "a")[1] is None
    assert rates.count(None, "a")[1] is None
    assert rates.count(None, "a")[1] is not None  # a quarter of a principal's
    assert rates.count(None, "b")[1] is None


def test_any_number_is_any_number():
    rates = Rates(0)

    assert all(rates.count(1, "a") == ([], None) for _ in range(1000))


def test_bad_tokens_are_counted_by_address():
    rates = Rates(0)
    for _ in range(BAD_TOKENS):
        assert not rates.has_spent_bad_tokens("a")
        rates.count_bad_token("a")

    assert rates.has_spent_bad_tokens("a")
    assert not rates.has_spent_bad_tokens("b")
    assert rates.refuse_bad_token("a")[1].retry_after_s >= 5
