"""Write what the images are made of: an SBOM for each, and the licences; `make sbom` runs this.

What a package says of itself is read where it is installed, in `.venv`; what belongs to an image,
and the hashes of its files, come from the lock.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tests.architecture.tree import REPOSITORY
from tests.locks.lock import OF_TORCH, VERSIONS, Pin, members, pins_here

BUILD = REPOSITORY / "build"
IMAGES = {"server": "server", "worker": "worker", "all": "embedded"}  # set, and image
# Without torch: what stands in its file belongs to images that have it.
WITH_TORCH = ("worker", "all")


def main() -> None:
    """Describe the environment whose Python is the only argument."""
    (python,) = sys.argv[1:]
    BUILD.mkdir(exist_ok=True)
    whole = described(python)
    locked = pins_here(VERSIONS)
    for name, image in IMAGES.items():
        file = BUILD / f"sbom-{image}.json"
        file.write_text(json.dumps(bill(whole, of_set(name, whole), locked), indent=1) + "\n")
        validate(file)
        print(f"wrote {file.relative_to(REPOSITORY)}")
    licences(python, of_set("all", whole))


def described(python: str) -> dict[str, Any]:
    """Give everything of an environment in CycloneDX's form."""
    command = ["cyclonedx_py", "environment", "--pyproject=pyproject.toml", "--output-reproducible"]
    done = subprocess.run(
        [sys.executable, "-m", *command, python], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def of_set(name: str, whole: Mapping[str, Any]) -> set[str]:
    """Name the packages of a set, torch and what came with it included."""
    found = {canonicalize_name(one["name"]) for one in whole["components"]}
    torch = {one for one in found if OF_TORCH.fullmatch(one)}
    return members(name) | (torch if name in WITH_TORCH else set())


def bill(whole: Mapping[str, Any], wanted: set[str], locked: Mapping[str, Pin]) -> dict[str, Any]:
    """Keep what is wanted, and give it the hashes of its files."""
    kept = [one for one in whole["components"] if canonicalize_name(one["name"]) in wanted]
    missing = wanted - {canonicalize_name(one["name"]) for one in kept}
    if missing:
        raise SystemExit(f"Not installed, so nothing can be said of it: {', '.join(sorted(missing))}")
    refs = {one["bom-ref"] for one in kept} | {whole["metadata"]["component"]["bom-ref"]}
    edges = [
        {**edge, "dependsOn": [ref for ref in edge.get("dependsOn", ()) if ref in refs]}
        for edge in whole["dependencies"]
        if edge["ref"] in refs
    ]
    return {**whole, "components": [_with_files(one, locked) for one in kept], "dependencies": edges}


def _with_files(component: dict[str, Any], locked: Mapping[str, Pin]) -> dict[str, Any]:
    """Add the files of a version; one of them is installed, which of them the machine decides."""
    pin = locked.get(canonicalize_name(component["name"]))
    if pin is None:
        return component
    files = {
        "type": "distribution",
        "url": component["purl"],
        "comment": "all files of the version, as locked",
        "hashes": [{"alg": "SHA-256", "content": one} for one in pin.hashes],
    }
    return {**component, "externalReferences": [*component.get("externalReferences", ()), files]}


def validate(file: Path) -> None:
    """Hold a file against the schema of CycloneDX; raises SystemExit where it fails."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read_text())
    if wrong is not None:
        raise SystemExit(f"{file}: {wrong}")


def licences(python: str, wanted: set[str]) -> None:
    """Write the licence of each package as a table."""
    file = BUILD / "licences.md"
    command = [sys.executable, "-m", "piplicenses", f"--python={python}", f"--output-file={file}"]
    options = ["--from=mixed", "--with-urls", "--with-system", "--format=markdown", "--packages"]
    subprocess.run([*command, *options, *sorted(wanted)], stdout=subprocess.DEVNULL, check=True)
    print(f"wrote {file.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
