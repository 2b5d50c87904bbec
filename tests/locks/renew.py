"""Write `locks/` anew from `pyproject.toml`; `make lock` runs this.

Versions that are there and still fit are kept, so that a new dependency changes only what it must;
`--upgrade` takes the newest of all. Only metadata is fetched, and nothing is installed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import REPOSITORY
from tests.locks.lock import LOCKS, LOWEST, OF_TORCH, TOOLS, TORCH, VERSIONS

# What is installed together, and the extras or groups of pyproject that it is made of.
SETS = {
    "server": ("--extra=server",),
    "worker": ("--extra=libraries", "--extra=verify"),
    "all": ("--extra=all",),
    "demo": ("--extra=demo",),
    "test": ("--extra=test",),
    "lint": ("--extra=lint",),
    "docs": ("--extra=docs",),
    "release": ("--extra=release",),
    "bench": ("--extra=bench",),
    "supply": ("--group=supply",),
}
LOCKED = (f"--constraint={VERSIONS}", f"--constraint={TORCH}")
BLOCK = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.-]*)==.*\n(?:[ #].*\n)*", flags=re.MULTILINE)
HEADER = "# Written by `make lock` from pyproject.toml.\n"
OF_VERSIONS = """\
# Every version that may be installed, with the hashes of all its files: those of other machines
# and Pythons too. The sets beside this file name packages; versions and hashes they have from here.
"""
OF_THE_TORCH = """\
# Versions without hashes: a release of torch has a file for each kind of accelerator, some of them
# from indexes of their own. The rest is what the builds for CUDA ask for. A constraint:
#     pip install --constraint locks/torch.txt torch
"""
OF_TOOLS = """\
# What installs and builds the rest. Any pip reads this file, and the sets need the pip in it.
"""
OF_LOWEST = """\
# The lowest versions that pyproject.toml allows, for `make test-lowest` on Python 3.11.
"""
OF_A_SET = "--require-hashes\n--constraint versions.txt\n"


def main() -> None:
    """Resolve once, then write each set from what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest of all")
    upgrade = ("--upgrade",) if parser.parse_args().upgrade else ()

    groups = ("--group=tools", "--group=supply")
    kept = "".join(file.read_text() for file in (VERSIONS, TORCH) if file.is_file())
    found = resolve("--all-extras", *groups, "--generate-hashes", *upgrade, kept=kept)
    alone = resolve("--group=alone", "--no-deps", "--generate-hashes", *upgrade, kept=kept)
    found += alone
    write(VERSIONS, OF_VERSIONS, (text for name, text in blocks(found) if not of_torch(name)))
    write(TORCH, OF_THE_TORCH, (bare(text) for name, text in blocks(found) if of_torch(name)))

    for name, asked in SETS.items():
        of_set = resolve(*asked, *LOCKED) + (alone if name == "bench" else "")
        write(LOCKS / f"{name}.txt", OF_A_SET, names(of_set))
    tools = resolve("--group=tools", "--generate-hashes", *LOCKED)
    write(TOOLS, OF_TOOLS, (text for _, text in blocks(tools)))
    kept = LOWEST.read_text() if LOWEST.is_file() else ""
    lowest = ("--extra=test", "--resolution=lowest-direct", "--generate-hashes", *upgrade)
    found = resolve(*lowest, kept=kept)
    write(LOWEST, OF_LOWEST, (text for name, text in blocks(found) if not of_torch(name)))


def resolve(*asked: str, kept: str = "") -> str:
    """Ask uv for versions that fit together on every machine; it prefers those in `kept`."""
    # Extras are looked for in a file that is named, groups without being told where.
    source = () if asked[0].startswith("--group") else ("pyproject.toml",)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "resolved.txt")
        output.write_text(kept)
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            *source,
            *asked,
            "--quiet",
            "--universal",
            "--python-version=3.11",
            "--no-header",
            "--output-file",
            str(output),
        ]
        if subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit("No versions fit together, or the index was not reached: see above.")
        return output.read_text()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Give each version with its hashes and who asks for it, sorted by name."""
    yield from sorted((found["name"], found[0]) for found in BLOCK.finditer(text))


def of_torch(name: str) -> bool:
    """Tell whether it is torch, or comes with its builds for CUDA alone."""
    return OF_TORCH.fullmatch(name) is not None


def bare(text: str) -> str:
    """Leave the hashes out."""
    first, *rest = text.splitlines()
    stays = [first.removesuffix(" \\"), *(line for line in rest if "--hash" not in line)]
    return "".join(f"{line}\n" for line in stays)


def names(text: str) -> Iterator[str]:
    """Give the packages of a set, each with the machines that it is for, without versions."""
    for name, block in blocks(text):
        if not of_torch(name):
            line = block.splitlines()[0].removesuffix(" \\")
            yield re.sub(r"==\S+", "", line) + "\n"


def write(file: Path, header: str, parts: Iterator[str]) -> None:
    """Write one file of the lock, whole or not at all, where it changes: its time tells `make` to install anew."""
    text = HEADER + header + "".join(parts)
    if not file.is_file() or file.read_text() != text:
        part = file.with_suffix(f".{os.getpid()}.part")  # versions that half a file lacks would be taken anew
        part.write_text(text)
        part.replace(file)
        print(f"wrote locks/{file.name}")


if __name__ == "__main__":
    main()
