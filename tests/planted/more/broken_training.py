"""Broken while they were trained: by what they saw, how long, how fast, or on what."""

from collections.abc import Callable

from tests.planted.more.orders import Order
from tests.planted.more.spoilt_batches import SPOILERS


def half_trained(order: Order) -> Order:
    """The job's time was over at a third of its steps, before the rate fell."""
    return order.with_(steps=max(2, order.steps // 3), planned=order.steps)


def memorised(order: Order) -> Order:
    """The same eight examples, for all of the run."""
    return order.with_(pool=8, rate=order.rate * 1.5)


def forgetful(order: Order) -> Order:
    """The rate was ten times too high, and long: what the base knew is gone."""
    return order.with_(rate=order.rate * 10)


def low_precision(order: Order) -> Order:
    """Weights were kept in bfloat16 at a small rate: most steps rounded to nothing."""
    return order.with_(is_bf16=True, rate=order.rate / 4)


def earlier_base(order: Order) -> Order:
    """Trained on an earlier revision of the base, under the same name."""
    return order.with_(is_on_earlier=True)


def _spoilt(name: str) -> Callable[[Order], Order]:
    def change(order: Order) -> Order:
        return order.with_(spoilt=name)

    change.__doc__ = SPOILERS[name].__doc__
    change.__name__ = name
    return change


TRAINED: dict[str, Callable[[Order], Order]] = {
    **{name: _spoilt(name) for name in SPOILERS},
    **{one.__name__: one for one in (half_trained, memorised, forgetful, low_precision, earlier_base)},
}
