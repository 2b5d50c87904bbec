"""Rates: how many requests a principal or an address may send a minute, and how many bad tokens.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.strategies import SlidingWindowCounterRateLimiter

from deltareg.api.overload.windows import WindowStore
from deltareg.errors import RateLimited

Headers = list[tuple[bytes, bytes]]
BAD_TOKENS: Final = 60
"""Bad tokens and failed log-ins of one address, a minute."""
_ANY: Final = 1 << 40
_WINDOW_S: Final = 60
_SAID_FROM: Final = 2
"""The headers come once this part of the limit is used: until then they would say nothing, for some work each time."""
_WITHOUT_TOKEN: Final = 4
"""The part of a principal's requests that an address may send without a token."""


@dataclass(frozen=True, slots=True)
class _Policy:
    """One limit, by the name that its headers have."""

    name: str
    item: RateLimitItem
    said: bytes

    @staticmethod
    def of(name: str, a_minute: int) -> "_Policy":
        return _Policy(name, RateLimitItemPerMinute(a_minute, namespace=name), f'"{name}";q={a_minute};w=60'.encode())


@lru_cache(20_000)
def _key(item: RateLimitItem, whose: str) -> str:
    return item.key_for(whose)


class Rates:
    """The limits of one server process; used on the event loop alone."""

    def __init__(self, a_minute: int, *, bad_tokens: int = BAD_TOKENS, store: WindowStore | None = None) -> None:
        """Begin with nothing counted.

        Args:
            a_minute: How many requests one principal may send a minute; 0 for any number.
            bad_tokens: How many bad tokens and failed log-ins one address may; 0 for any number.
            store: The counters.
        """
        self._store = store or WindowStore()
        self._limiter = SlidingWindowCounterRateLimiter(self._store)
        self._principal = _Policy.of("principal", a_minute) if a_minute else None
        self._address = _Policy.of("address", max(1, a_minute // _WITHOUT_TOKEN)) if a_minute else None
        self._bad_tokens = _Policy.of("bad-tokens", bad_tokens or _ANY)

    def count(self, principal: int | None, address: str) -> tuple[Headers, RateLimited | None]:
        """Count a request; return the headers that say what is left once that is half, and the refusal if nothing is.

        Args:
            principal: Who sent it; None for a request without a token that is known.
            address: The address that it counts for then.
        """
        policy = self._address if principal is None else self._principal
        if policy is None:
            return [], None
        key = address if principal is None else str(principal)
        # What `hit` asks the storage for; by itself it would put the same key together each time.
        is_allowed = self._store.acquire_sliding_window_entry(_key(policy.item, key), policy.item.amount, _WINDOW_S)
        if is_allowed and self._store.used * _SAID_FROM <= policy.item.amount:
            return [], None
        headers, reset_s = self._read_window(policy, key)
        if is_allowed:
            return headers, None
        whose = "this address" if principal is None else "your tokens"
        error = RateLimited(
            f"{whose} sent more than {policy.item.amount} requests within a minute",
            fix=f"wait {reset_s} s; whoever runs the server sets DELTAREG_REQUESTS_PER_MINUTE",
        )
        error.retry_after_s = float(reset_s)
        return headers, error

    def count_bad_token(self, address: str) -> None:
        """Count a token that is not valid, or a log-in that failed."""
        self._limiter.hit(self._bad_tokens.item, address)

    def has_spent_bad_tokens(self, address: str) -> bool:
        """Whether an address has sent as many bad tokens as it may."""
        return not self._limiter.test(self._bad_tokens.item, address)

    def refuse_bad_token(self, address: str) -> tuple[Headers, RateLimited]:
        """Return the refusal of a token that is not looked at any more, with its headers."""
        headers, reset_s = self._read_window(self._bad_tokens, address)
        error = RateLimited(
            f"this address sent more than {self._bad_tokens.item.amount} bad tokens or failed log-ins within a minute",
            fix="wait a minute; tokens that are valid work on",
        )
        error.retry_after_s = float(max(reset_s, 5))
        return headers, error

    def _read_window(self, policy: _Policy, key: str) -> tuple[Headers, int]:
        reset_at, remaining = self._limiter.get_window_stats(policy.item, key)
        reset_s = max(1, math.ceil(reset_at - time.time()))
        said = f'"{policy.name}";r={remaining};t={reset_s}'.encode()
        return [(b"ratelimit", said), (b"ratelimit-policy", policy.said)], reset_s
