"""Compare what is installed with the lock; `make locked` runs this in `.venv`."""

from importlib.metadata import distributions

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.locks.lock import TORCH, VERSIONS, pins_here

OURS = "deltareg"


def main() -> None:
    """Print how this environment differs from the lock, and fail if it does."""
    found = installed()
    differing = differences(found)
    for line in differing:
        print(line)
    if differing:
        raise SystemExit("The environment is not what locks/ says; make it anew: rm -r .venv")
    print(f"{len(found)} packages are installed, each in the version that locks/ says.")


def installed() -> dict[str, str]:
    """Give the version of every package of this environment, ours left out."""
    found: dict[str, str] = {canonicalize_name(one.name): one.version for one in distributions()}
    found.pop(OURS, None)
    return found


def differences(found: dict[str, str]) -> list[str]:
    """Say of each package that is not locked, or locked in another version."""
    locked = {name: pin.version for name, pin in pins_here(VERSIONS, TORCH).items()}
    return [
        f"{name} {version} is installed, and locks/ says {locked.get(name, 'nothing of it')}"
        for name, version in sorted(found.items())
        if name not in locked or not _is_same_release(version, locked[name])
    ]


def _is_same_release(found: str, locked: str) -> bool:
    """Tell whether versions differ at most in what was built: 2.13.0+cpu is 2.13.0."""
    return Version(found).public == Version(locked).public


if __name__ == "__main__":
    main()
