"""Waits for news without holding a thread or delaying the end of the server.

One of the two asynchronous seams.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from deltareg.streaming import is_in_vain

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
T = TypeVar("T")


async def wait_until(
    request: Request,
    look: Callable[[], T],
    is_news: Callable[[T], bool],
    *,
    wait_s: float,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> T:
    """Look until there is news or the time is up, and return the last result.

    Args:
        request: The request that waits.
        look: Reads, in a thread.
        is_news: Whether a result is what the caller waits for.
        wait_s: How long to wait, seconds; 0 looks once.
        longest_pause_s: The longest pause between two looks; pauses grow up to it.
    """
    deadline = anyio.current_time() + wait_s
    pause_s = FIRST_PAUSE_S
    latest = await anyio.to_thread.run_sync(look)
    while not is_news(latest) and (left_s := deadline - anyio.current_time()) > 0:
        await anyio.sleep(min(pause_s, left_s))
        if await is_in_vain(request):
            break
        pause_s = min(pause_s * 1.5, longest_pause_s)
        latest = await anyio.to_thread.run_sync(look)
    return latest
