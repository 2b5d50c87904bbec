"""Ask what is known against the locked versions; `make audit` runs this.

Fails where something is known. Where nobody can be asked it says so and does not fail: then nothing
was found out, and the commit is not to blame.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.locks.lock import TOOLS, TORCH, VERSIONS

NOBODY_ASKED = "no network: the service of known vulnerabilities was not reached; nothing was audited"
OF_THE_NETWORK = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError")


def main() -> None:
    """Audit each file that versions are installed from."""
    known = [line for file in (VERSIONS, TOOLS, TORCH) for line in audited(file)]
    for line in known:
        print(line)
    if known:
        raise SystemExit("Something is known against a locked version; try: make lock-newest")
    print("Nothing is known against the locked versions.")


def audited(file: Path) -> list[str]:
    """Give what is known against the versions of one file, a line each."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner=off"]
    done = subprocess.run(
        [*command, "--format=json", f"--requirement={file}"], capture_output=True, text=True, check=False
    )
    try:
        return findings(done.stdout, done.stderr)
    except ConnectionError:
        print(NOBODY_ASKED)
        raise SystemExit(0) from None


def findings(answer: str, complaints: str) -> list[str]:
    """Read what pip-audit wrote; raises ConnectionError where it reached nobody."""
    if not answer:
        if any(name in complaints for name in OF_THE_NETWORK):
            raise ConnectionError(complaints)
        raise SystemExit(complaints)
    asked = json.loads(answer)["dependencies"]
    # An index that only serves files answers as for packages that nobody has.
    if all("skip_reason" in one for one in asked):
        raise ConnectionError(complaints)
    known = ((one, found) for one in asked for found in one.get("vulns", ()))
    return [one["skip_reason"] for one in asked if "skip_reason" in one] + [
        f"{one['name']} {one['version']}: {found['id']}, gone in {_releases(found)}" for one, found in known
    ]


def _releases(found: Mapping[str, Any]) -> str:
    return ", ".join(found["fix_versions"]) or "no release"


if __name__ == "__main__":
    main()
