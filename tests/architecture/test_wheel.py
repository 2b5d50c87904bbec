"""What a wheel carries, and that the base install works without the extras."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.architecture.tree import PACKAGES, REPOSITORY

pytestmark = pytest.mark.slow

EXTRAS = ("torch", "transformers", "sqlalchemy", "alembic", "boto3", "fastapi", "pydantic_settings")
HIDE = f"""
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {EXTRAS} else find(name, path, target)

PathFinder.find_spec = find_spec
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the source archive, and from it the wheel, with the tools at hand."""
    folder = tmp_path_factory.mktemp("built")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY])
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def source(built, tmp_path_factory):
    """Unpack the source archive."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def base_install(wheel, tmp_path_factory):
    """Give an environment that sees the wheel and none of the extras' packages."""
    folder = tmp_path_factory.mktemp("base")
    run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel])
    hide = tmp_path_factory.mktemp("hide")
    (hide / "sitecustomize.py").write_text(HIDE)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(hide), str(folder)])}


def run(command, **options):
    """Run a command that must succeed and give its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_carries_every_file_of_the_packages(wheel):
    expected = {
        str(path.relative_to(folder.parent))
        for folder in PACKAGES.values()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".mypy_cache", ".ruff_cache"} & {*path.parts}
    }

    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert found == expected


def test_a_release_is_not_built_without_its_compiled_loops(source, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source],
        env={**os.environ, "DELTAREG_KERNEL": "native", "CC": "false"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "DELTAREG_KERNEL=native is set" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
def test_a_wheel_without_compiled_loops_is_for_every_machine(source, tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    run([*command, source], env={**os.environ, "DELTAREG_KERNEL": "numpy"})

    (made,) = tmp_path.iterdir()
    assert made.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(made).namelist() if name.endswith(".so")]


def test_the_wheel_declares_no_heavy_dependency(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode().lower()

    required = [line for line in metadata.splitlines() if line.startswith("requires-dist:")]
    base = [line for line in required if "extra ==" not in line]

    assert base
    assert [line for line in base if any(extra in line for extra in EXTRAS)] == []


def test_the_library_imports_without_the_extras(base_install, tmp_path):
    code = "import deltareg; print(deltareg.__version__, deltareg.Client.__name__, deltareg.__file__)"

    version, client, file = run([sys.executable, "-c", code], env=base_install).split()

    assert (version, client) == ("0.1.0", "Client")
    assert str(REPOSITORY) not in file


def test_the_command_line_answers_without_the_extras(base_install):
    code = "from deltareg_cli.main import main; main()"

    text = run([sys.executable, "-c", code, "--help"], env=base_install)

    assert "push" in text


def test_a_missing_extra_is_named(base_install):
    """`deltareg up` on a base install says what to install instead of showing a traceback."""
    code = "from deltareg_cli.main import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code, "up"], env=base_install, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode not in (0, 1)
    assert "deltareg[" in done.stderr
    assert "Traceback" not in done.stderr
