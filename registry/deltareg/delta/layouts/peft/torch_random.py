"""The random draws of torch's CPU generator, reproduced without torch, bit for bit.

It is the Mersenne Twister MT19937 (Matsumoto & Nishimura 1998) seeded with the lowest 32 bits of
the seed, which NumPy has too. A permutation is a Fisher-Yates shuffle from the front.
"""

from functools import lru_cache

import numpy as np

from deltareg.delta.maths.formula import Integers

# From this size on torch shuffles in another way, which is not reproduced here.
TOO_MANY = (2**32 - 1) // 20


@lru_cache(maxsize=64)
def start_of_permutation(size: int, count: int, seed: int) -> Integers:
    """Return the first `count` of `torch.randperm(size)` for a generator with this seed.

    Only these are computed, so neither time nor memory grows with `size`.

    Args:
        size: How many numbers are permuted; less than `TOO_MANY`.
        count: How many to return; at most `size`.
        seed: Not negative.
    """
    twister = np.random.RandomState(seed & 0xFFFFFFFF)
    draws = twister.randint(0, 1 << 32, size=count, dtype=np.uint32)
    moved: dict[int, int] = {}
    drawn = np.empty(count, dtype=np.int64)
    for at in range(count):
        other = at + int(draws[at]) % (size - at)
        here, there = moved.get(at, at), moved.get(other, other)
        moved[other], drawn[at] = here, there
    drawn.flags.writeable = False
    return drawn
