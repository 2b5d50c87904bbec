"""What every test shares: quiet surroundings, paths, markers, hypothesis profiles.

Each file in `tests/fixtures/` is a plugin of its own (a database, an S3 server, a running
registry); all of them are found by folder.
"""

import gc
import importlib.util
import os
import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

from tests.left_to_soak import leave_to_soak

REPOSITORY = Path(__file__).parents[1]

pytest_plugins = tuple(
    f"tests.fixtures.{path.stem}"
    for path in sorted((REPOSITORY / "tests" / "fixtures").glob("*.py"))
    if not path.stem.startswith("_")
)

# Most of what a test of a registry waits for is the disk, and no test cuts the power.
_MEMORY_DISK = Path("/dev/shm")
_MEMORY_DISK_BYTES = 6 << 30

# Folders whose files take long.
_DEAR = {"verify", "service", "client", "e2e", "cli", "api", "migrations", "kinds", "merging", "hub", "telling"}

# No deadline: a shared machine stalls. Derandomised: CI says the same twice; soak explores.
hypothesis.settings.register_profile("quick", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile("quick")


def pytest_configure():
    """Let the folders of the tests lie in memory, where there is room and nobody said otherwise."""
    gc.disable()  # the thousands of tests are collected first; none of them is garbage
    is_roomy = _MEMORY_DISK.is_dir() and shutil.disk_usage(_MEMORY_DISK).free >= _MEMORY_DISK_BYTES
    if is_roomy and os.access(_MEMORY_DISK, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's jobs in the background ignore Ctrl-C, and so would all that we start.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_pycollect_makeitem(collector, name, obj):
    """Make no items of what only the soak runs, where it does not run: its tables are the longest."""
    marks = getattr(obj, "pytestmark", None)
    is_of_soak = isinstance(marks, list) and any(mark.name == "soak" for mark in marks)
    return [] if is_of_soak and collector.config.option.markexpr == "not soak" else None


def pytest_collection_modifyitems(items):
    """Start the files with slow tests first, and skip `gpu` tests where there is no CUDA device.

    Two processes share the files in this order; a long file that comes last would run alone. So
    those with neither slow tests nor registries, networks or databases in them come last.
    """
    leave_to_soak(items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name not in _DEAR))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    missing = missing_gpu() if marked else None
    if missing is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=missing))


def pytest_collection_finish():
    """Let the collector pass over the thousands of tests, which are there until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def missing_gpu():
    """Say why a CUDA test cannot run here, or return None."""
    if importlib.util.find_spec("torch") is None:
        return "needs torch: pip install 'deltareg[verify]'"
    import torch

    return None if torch.cuda.is_available() else "needs a CUDA device: torch sees none"


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory):
    """Keep the user's settings, caches and credentials out of the tests, and tests off the net."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DELTAREG_", "AWS_", "HF_")) and not name.startswith("DELTAREG_TEST_"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        for name in ("CONFIG", "CACHE", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("DELTAREG_GOLDEN", "never")  # a process with torch for each push
        yield


@pytest.fixture(scope="session")
def repository():
    """Return the root of the project's tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def corpus():
    """Return the folder of real samples made by other libraries, or skip where it is absent."""
    folder = Path(os.environ.get("DELTAREG_TEST_CORPUS", REPOSITORY.parent / "shared" / "corpus"))
    if not (folder / "manifest.json").is_file():
        pytest.skip("needs the sample corpus: set DELTAREG_TEST_CORPUS to its folder")
    return folder
