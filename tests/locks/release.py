"""Make a release: the wheel and the source, built twice and equal, with bills, notes, sums and a signature.

`python -m tests.locks.release [--key FILE]` builds what is committed into `dist/`; `make release`
runs it after `make sbom`. Wheels with compiled loops come from `make wheels`, which needs Docker, and
are taken along where they lie in `dist/`. `--verify DIR --public KEY` checks what somebody downloaded.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import deltareg
from deltareg.signing.key_file import read_or_make_key
from deltareg.signing.keys import PublicKey
from deltareg.signing.signed_statements import open_statement, sign_statement
from deltareg.signing.statement import Statement
from tests.architecture.tree import REPOSITORY

DIST, BUILD = REPOSITORY / "dist", REPOSITORY / "build"
SUMS, SIGNED, NOTES = "SHA256SUMS", "SHA256SUMS.intoto.json", "NOTES.md"
PREDICATE = "https://deltareg.dev/release/v1"


def main() -> None:
    """Make a release, or verify one."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--key", type=Path, default=REPOSITORY / "build" / "release-key.pem")
    asked.add_argument("--verify", type=Path)
    asked.add_argument("--public")
    given = asked.parse_args()
    if given.verify is not None:
        print("\n".join(verify_release(given.verify, given.public or "")))
        return
    make_release(given.key)


def make_release(key_file: Path) -> None:
    """Build, describe and sign what is committed."""
    commit = _git("rev-parse", "HEAD")
    version = f"v{deltareg.__version__}"
    tags = _git("tag", "--points-at", "HEAD").split()
    if tags and version not in tags:
        raise SystemExit(f"HEAD is tagged {', '.join(tags)}, and its version is {version}")
    DIST.mkdir(exist_ok=True)
    build_twice(commit, DIST)
    for bill in sorted(BUILD.glob("sbom-*.json")):
        shutil.copy(bill, DIST)
    (DIST / NOTES).write_text(notes_of((REPOSITORY / "CHANGELOG.md").read_text(), deltareg.__version__))
    key, is_new = read_or_make_key(key_file)
    sums = {file.name: _digest(file) for file in _files(DIST)}
    (DIST / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    facts = {"version": version, "commit": commit, "is_tagged": bool(tags)}
    statement = Statement(SUMS, _digest(DIST / SUMS), PREDICATE, facts)
    (DIST / SIGNED).write_bytes(sign_statement(statement, key))
    print("\n".join(verify_release(DIST, str(key.public))))
    print(f"{version} of {commit[:12]}{'' if tags else ', not tagged: a trial'}, signed by {key.public}")
    if is_new:
        print(f"the key is new: {key_file}")


def build_twice(commit: str, into: Path) -> None:
    """Build the source and the pure wheel from a commit in two places; refuse if a byte differs."""
    epoch = _git("show", "--no-patch", "--format=%ct", commit)
    packed = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=True).stdout
    environ = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "DELTAREG_KERNEL": "numpy"}
    with tempfile.TemporaryDirectory(prefix="deltareg-release-") as scratch:
        built = []
        for place in (Path(scratch) / "one", Path(scratch) / "another"):
            with tarfile.open(fileobj=BytesIO(packed)) as archive:
                archive.extractall(place, filter="data")
            command = [
                sys.executable,
                "-m",
                "hatchling",
                "build",
                "-d",
                str(place / "dist"),
                "-t",
                "sdist",
                "-t",
                "wheel",
            ]
            subprocess.run(
                command, cwd=place, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            built.append(_files(place / "dist"))
        first, second = ({file.name: _digest(file) for file in files} for files in built)
        if first != second:
            raise SystemExit(f"not built alike twice: {sorted({*first.items()} ^ {*second.items()})}")
        for file in built[0]:
            shutil.copy(file, into / file.name)


def notes_of(changelog: str, version: str) -> str:
    """Give the section of a version, or of what is not released yet."""
    sections = ["## " + part for part in changelog.split("\n## ")[1:]]
    wanted = (f"## [{version}]", "## [Unreleased]")
    found = next((section for head in wanted for section in sections if section.startswith(head)), None)
    if found is None:
        raise SystemExit(f"CHANGELOG.md says nothing of {version}")
    return found.rstrip() + "\n"


def verify_release(folder: Path, public: str) -> list[str]:
    """Hold the files of a folder against their sums, and the sums against who signed them; gives what was checked.

    Raises:
        BadSignature: The signature is not by that key, or about other sums.
        SystemExit: A file is missing or another one.
    """
    key = PublicKey.parse(public)
    signed = open_statement((folder / SIGNED).read_bytes(), {key.keyid: key}, predicate_type=PREDICATE).statement
    if signed.sha256 != _digest(folder / SUMS):
        raise SystemExit(f"{SUMS} is not what was signed")
    sums = dict(line.split("  ")[::-1] for line in (folder / SUMS).read_text().splitlines())
    wrong = [name for name, digest in sums.items() if not (folder / name).is_file() or _digest(folder / name) != digest]
    if wrong:
        raise SystemExit(f"missing, or not what was signed: {', '.join(wrong)}")
    return [f"ok  {name}" for name in sums] + [json.dumps(signed.predicate)]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name not in {SUMS, SIGNED})


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
