"""Ctrl-C while a program starts: it ends at once, as any other does, without a page of frames.

Nothing is imported here but what Python has loaded anyway, for this is what comes first.
"""

import signal


class ending_at_once:  # noqa: N801  # a context manager; contextlib would come late
    """Let Ctrl-C end the process while the block imports what a start needs.

    Python raises it wherever it is, and in the midst of imports some of them swallow it. Where
    somebody else handles the signal, or it is ignored, nothing changes.
    """

    def __enter__(self) -> None:
        """Give the signal back to the system."""
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        """Have it raised again."""
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
