"""Progress of the client's long work; the command line draws bars from it."""

from typing import Protocol


class Meter(Protocol):
    """One piece of work in progress; several threads may add to it."""

    def add(self, size_bytes: int) -> None:
        """Count bytes that are done."""
        ...

    def count_moved(self, size_bytes: int) -> None:
        """Count bytes that were transferred for it, which encoding has made fewer."""
        ...

    def note(self, text: str) -> None:
        """Show a sentence about the work, without ending it."""
        ...

    def close(self) -> None:
        """End the work, whether it is complete or not; may be called twice."""
        ...


class Progress(Protocol):
    """Where the client announces work; the caller owns and closes each meter."""

    def task(self, label: str, total_bytes: int | None) -> Meter:
        """Begin a piece of work.

        Args:
            label: What is being done, as in `uploading 3 packs`.
            total_bytes: How much there is to do; None if unknown.
        """
        ...


class _SilentMeter:
    """A meter that reports to nobody."""

    def add(self, size_bytes: int) -> None:
        """Do nothing."""

    def count_moved(self, size_bytes: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _SilentProgress:
    """Progress that nobody watches."""

    def task(self, label: str, total_bytes: int | None) -> Meter:
        """Return a meter that does nothing."""
        return _SilentMeter()


SILENT: Progress = _SilentProgress()
