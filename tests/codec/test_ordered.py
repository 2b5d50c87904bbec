"""Threads give results in order and never run far ahead of who takes them."""

import threading

import pytest

from deltareg.codec import OrderedPool


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_order(workers):
    with OrderedPool(workers) as pool:
        assert list(pool.map(lambda n: n * n, range(100))) == [n * n for n in range(100)]


def test_no_more_than_two_items_a_worker_are_held():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    with OrderedPool(3) as pool:
        results = pool.map(lambda n: n, items())
        next(results)

        assert len(taken) == 6


def test_two_items_run_at_once():
    meeting = threading.Barrier(2, timeout=60)

    with OrderedPool(2) as pool:
        ranks = list(pool.map(lambda _: meeting.wait(), range(4)))

    assert sorted(ranks) == [0, 0, 1, 1]


def test_an_error_comes_out_at_its_place():
    def divide(number):
        return 12 // (3 - number)

    with OrderedPool(2) as pool:
        results = pool.map(divide, range(9))

        assert [next(results) for _ in range(3)] == [4, 6, 12]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_one_worker_is_the_calling_thread():
    with OrderedPool(1) as pool:
        (thread,) = pool.map(lambda _: threading.current_thread(), [0])

    assert thread is threading.current_thread()
