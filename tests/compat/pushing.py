"""Pushes a delta every few seconds until its input ends, with the client of whichever release runs it.

`python pushing.py FOLDER NAME EVERY_S` writes a line of JSON for each push: its version, or what failed.
"""

import json
import select
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path

from deltareg import Client


def change(folder, number):
    """Give one number of a delta's file another value, so that it is another delta."""
    (file,) = folder.glob("*.safetensors")
    raw = bytearray(file.read_bytes())
    raw[-4:] = struct.pack("<f", number / 1e6)
    file.write_bytes(raw)


def main(source, name, every_s):
    with Client() as client, tempfile.TemporaryDirectory() as scratch:
        number, due = 0, time.monotonic()
        while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            number, due = number + 1, due + every_s
            folder = Path(scratch) / str(number)
            shutil.copytree(source, folder)
            change(folder, number + 5_000 * (name == "new"))
            line = f"me/{name}-{number}"
            try:
                ref = client.push(folder, line, base="tinyllama", golden=False).version.ref
                client.pull(ref, Path(scratch) / f"out-{number}")
                print(json.dumps({"ref": ref}), flush=True)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is counted
                print(json.dumps({"failed": f"{line}: {type(error).__name__}: {error}"}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
