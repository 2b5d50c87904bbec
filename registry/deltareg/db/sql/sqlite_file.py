"""Whether the file of a SQLite database still is the one that was opened.

A process goes on writing to a file that somebody removed or replaced, and all that it acknowledges is
lost with its last handle. SQLite asks for this only without a write-ahead log, and in the same way
(https://sqlite.org/src/file/src/os_unix.c, `fileHasMoved`).
"""

from pathlib import Path

from deltareg.errors import Unavailable


class DatabaseFile:
    """The file that a path led to when it was first opened."""

    def __init__(self, path: str) -> None:
        """Take the path of a database, which need not be there yet."""
        self._path = Path(path)
        self._inode: int | None = None

    def note_opened(self) -> None:
        """Note which file is open; the first one counts."""
        self._inode = self._inode or self._read_inode()

    def check_unmoved(self) -> None:
        """Refuse to go on with a file that is not at its path any more.

        Raises:
            Unavailable: It was removed, or another one is there.
        """
        now = self._read_inode()
        if now == self._inode or self._inode is None:
            return
        what = "removed" if now is None else "replaced"
        raise Unavailable(
            f"the database {self._path.name} was {what} under the running server, which takes nothing any more",
            fix="start the server again" + ("" if now else ", after a restore from a backup if nobody meant to"),
        )

    def _read_inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None
