"""The release before this one: its sources, and what runs them."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).parents[2]
ROOTS = ("registry", "cli", "migrations", "gpu_verify")
FIRST = "a5eabdc9"
"""Stands for the release before while there is no tag."""


def release_before():
    """Name the newest release of this history that is not this commit."""
    asked = ["git", "-C", str(HERE), "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or FIRST


def unpack_release(name, folder):
    """Unpack the sources of a release out of the history; None where the history does not have it."""
    asked = ["git", "-C", str(HERE), "archive", name, *ROOTS]
    packed = subprocess.run(asked, capture_output=True, check=False)
    if packed.returncode:
        return None
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def environ_of(source, home, **variables):
    """Give the environment of a user with a home, who has installed a release."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DELTAREG_")}
    return kept | {
        "PYTHONPATH": os.pathsep.join(str(source / root) for root in ROOTS),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / f"cache-{source.name}"),
        **variables,
    }


def module_of(*command):
    """Give the command line of a module of a release."""
    return [sys.executable, "-m", *command]
