"""Waiting for news without holding a thread, nor up the end of the server.

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
    """Look until there is news or the time is up, and give what was seen last.

    Args:
        request: Who waits.
        look: Reads, in a thread.
        is_news: Whether somebody waits for what was read.
        wait_s: How long to wait; 0 looks once.
        longest_pause_s: The pauses between two looks grow up to this.
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
