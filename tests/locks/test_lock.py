"""The lock names all that may be installed, and nothing is installed past it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from hashlib import sha256

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.tree import REPOSITORY
from tests.locks.installed import differences, installed
from tests.locks.lock import LOCKS, LOWEST, OF_TORCH, TOOLS, TORCH, VERSIONS, members, pins, pins_here
from tests.locks.renew import SETS

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
DIRECT = {
    Requirement(line)
    for lines in (PROJECT["project"]["dependencies"], *EXTRAS.values(), *GROUPS.values())
    for line in lines
    if not line.startswith("deltareg[")
}
# Lifted by what else the tests are run with; the floor is what users may have without that.
LIFTED = {
    "opentelemetry-api": "before Python 3.12, what goes with the lowest of Google's library",
    "opentelemetry-exporter-otlp-proto-http": "as above",
    "opentelemetry-sdk": "as above",
    "regex": "transformers asks for a newer one",
    "safetensors": "diffusers asks for a newer one",
    "sigstore": "the tests verify with what newer ones can",
}
INSTALLS = re.compile(r"(?:-m |/)pip\b.* (?:install|wheel) (.*)")


@pytest.mark.parametrize("direct", sorted(DIRECT, key=str), ids=str)
def test_every_direct_dependency_is_locked_in_a_version_that_fits(direct):
    locked = [pin for pin in (*pins(VERSIONS), *pins(TORCH)) if pin.name == canonicalize_name(direct.name)]

    assert locked, "run: make lock"
    assert [pin.version for pin in locked if not direct.specifier.contains(pin.version)] == []


def test_a_build_takes_its_back_end_from_the_lock():
    tools = pins_here(TOOLS)

    for wanted in map(Requirement, PROJECT["build-system"]["requires"]):
        assert wanted.specifier.contains(tools[wanted.name].version)
    locked = pins_here(VERSIONS)
    assert {name: locked[name].version for name in tools} == {name: tools[name].version for name in tools}


@pytest.mark.parametrize("file", [VERSIONS, TOOLS, LOWEST], ids=lambda file: file.name)
def test_every_version_has_the_hashes_of_its_files(file):
    assert [pin.name for pin in pins(file) if not pin.hashes] == []


@pytest.mark.parametrize("file", [VERSIONS, LOWEST], ids=lambda file: file.name)
def test_versions_hold_for_other_machines_and_pythons(file):
    files = {pin.name: len(pin.hashes) for pin in pins(file)}

    alone = [name for name, count in files.items() if count == 1]

    assert min(files[name] for name in ("blake3", "cryptography", "lxml", "numpy")) > 20
    assert len(alone) < len(files) / 20, alone  # a wheel for every machine and no source, or the reverse


@pytest.mark.parametrize("file", [VERSIONS, TOOLS, LOWEST], ids=lambda file: file.name)
def test_no_hash_ties_torch_to_one_of_its_builds(file):
    assert [pin.name for pin in pins(file) if OF_TORCH.fullmatch(pin.name)] == []


def test_torch_is_one_release_and_brings_locked_versions_for_cuda():
    named = {pin.name: pin for pin in pins(TORCH)}

    assert all(OF_TORCH.fullmatch(name) for name in named)
    assert [name for name, pin in named.items() if pin.hashes] == []
    assert "+" not in named["torch"].version


@pytest.mark.parametrize("name", SETS)
def test_a_set_names_locked_packages_and_installs_by_hash_alone(name):
    text = (LOCKS / f"{name}.txt").read_text()

    assert text.splitlines()[1:3] == ["--require-hashes", "--constraint versions.txt"]
    assert members(name) - pins_here(VERSIONS).keys() == set()
    assert re.findall(r"^[^;#]*==.*", text, flags=re.MULTILINE) == []


@pytest.mark.parametrize("name", ["server", "worker", "all", "demo", "test", "lint", "docs", "release", "bench"])
def test_a_set_has_all_that_its_extras_ask_for(name):
    extras = [option.removeprefix("--extra=") for option in SETS[name]]

    asked = {canonicalize_name(one.name) for one in asked_by(extras)}

    assert {one for one in asked if not OF_TORCH.fullmatch(one)} - members(name) == set()


def asked_by(extras):
    """Give the direct dependencies of extras, and of those that they name."""
    found = set(map(Requirement, PROJECT["project"]["dependencies"]))
    for line in (line for extra in extras for line in EXTRAS[extra]):
        stated = Requirement(line)
        found |= asked_by(stated.extras) if stated.name == "deltareg" else {stated}
    return found


def test_a_floor_is_a_version_that_the_lowest_run_has():
    lowest = pins_here(LOWEST)
    floors: dict[str, set[Version]] = defaultdict(set)
    for one in asked_by(["test"]):
        floors[canonicalize_name(one.name)] |= {
            Version(limit.version) for limit in one.specifier if limit.operator == ">="
        }

    raised = {
        name: lowest[name].version
        for name, stated in floors.items()
        if name in lowest and stated and max(stated) != Version(lowest[name].version)
    }

    assert raised.keys() - LIFTED.keys() == set(), raised


@pytest.mark.parametrize("file", ["Makefile", "deploy/Dockerfile"])
def test_nothing_is_installed_without_the_lock(file):
    text = (REPOSITORY / file).read_text().replace("\\\n", " ")
    lines = [part for line in text.splitlines() for part in line.split("&&")]

    past = [line.strip() for line in lines if (found := INSTALLS.search(line)) and not is_locked(found[1])]

    # vLLM's own world: its versions are its own, in an environment of its own.
    assert [line for line in past if "VLLM_VENV" not in line and "INSTALL := " not in line] == []


def is_locked(asked):
    """Tell whether an installation takes a set, torch by its file, or what is built here."""
    taken = re.search(r"--requirement locks/|--constraint locks/torch.txt|/wheels", asked)
    return bool(taken) or asked.startswith(("$(", "--wheel-dir"))


def test_the_environment_of_the_tests_is_what_the_lock_says():
    found = installed()

    of_the_lock = {name: found[name] for name in members("test") | {"torch"}}

    assert differences(of_the_lock) == []


def test_a_difference_from_the_lock_is_told():
    told = differences({"torch": "2.13.0+cpu", "click": "0.1", "left-pad": "1.0"})

    assert [line.split(",")[0] for line in told] == ["click 0.1 is installed", "left-pad 1.0 is installed"]


@pytest.mark.slow
@pytest.mark.parametrize("is_true", [True, False])
def test_pip_takes_a_set_by_the_hashes_beside_it_alone(tmp_path, is_true):
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    digest = sha256(wheel.read_bytes() if is_true else b"another file").hexdigest()
    (tmp_path / "versions.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    (tmp_path / "set.txt").write_text("--require-hashes\n--constraint versions.txt\ntiny\n")

    offline = ["-m", "pip", "install", "--no-deps", "--no-index", "--find-links", tmp_path]
    done = subprocess.run(
        [sys.executable, *offline, "--target", tmp_path / "there", "-r", tmp_path / "set.txt"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) is is_true, done.stdout + done.stderr
    assert (tmp_path / "there" / "tiny-1.0.dist-info").is_dir() is is_true
