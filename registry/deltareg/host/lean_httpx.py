"""httpx without its own command line, which it loads if rich and click are installed.

That takes longer than the rest of httpx, and every command here would wait for it. Import httpx
from this module.
"""

import sys

_IS_FIRST = "httpx" not in sys.modules
if _IS_FIRST:
    # A module that is None cannot be imported; httpx then goes on without its command line.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]

import httpx as httpx  # noqa: E402  # not before that

if _IS_FIRST:
    del sys.modules["httpx._main"]
