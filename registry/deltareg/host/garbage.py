"""How often a process of ours looks for garbage: seldom, for it makes little and imports much.

Looking through what imports have made takes a quarter of the start of a server or of torch, at the
start and again at the end (Python 3.11). What reference counts free is freed at once all the same.
"""

import atexit
import gc

_THRESHOLDS = (20_000, 20, 20)


def collect_rarely() -> None:
    """Look for cycles more seldom, and not at all at the end; call it before what is dear."""
    gc.set_threshold(*_THRESHOLDS)
    atexit.register(gc.freeze)
