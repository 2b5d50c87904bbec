"""What was asked and what was acknowledged: lines of a file, each on the disk before the next act."""

import json
import os
import threading
import time


class Journal:
    """Acts as they were asked and acknowledged."""

    def __init__(self, path):
        self._file = path.open("ab")
        self._lock = threading.Lock()
        self.lines = []

    def write(self, what, **facts):
        """Keep a line; it is on the disk when this returns."""
        line = {"what": what, "at": time.time(), **facts}
        with self._lock:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.lines.append(line)

    def find(self, what, **facts):
        """List the lines of a kind, oldest first."""
        with self._lock:
            lines = list(self.lines)
        return [line for line in lines if line["what"] == what and facts.items() <= line.items()]

    def close(self):
        """Close the file."""
        self._file.close()
