"""The files that operators start from: linted, of the right form, and true to the code."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deltareg.client.config import SETTINGS
from deltareg.store.schemes import all_schemes
from deltareg_cli.commands.start.help import OTHER_VARIABLES
from tests.architecture.generate_settings_docs import classes, variables
from tests.architecture.tree import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = sorted(DEPLOY.glob("compose*.yaml"))
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
SCRIPTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
VARIABLE = re.compile(r"\bDELTAREG_[A-Z0-9_]+\b")
OF_COMPOSE = {"DELTAREG_POSTGRES_PASSWORD"}  # read by the compose file and not by a process


def run(*command):
    """Run a linter of the environment."""
    return subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, check=False)


def test_the_dockerfile_is_clean():
    lint = run("hadolint", DEPLOY / "Dockerfile")

    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("target", ["server", "worker", "embedded"])
def test_an_image_runs_as_nobody_special_and_says_whether_it_is_well(target):
    text = (DEPLOY / "Dockerfile").read_text()
    stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM |\Z)", text, flags=re.M | re.S)

    assert stage
    assert re.search(r"^USER 10001:10001$", stage[1], flags=re.M)
    assert re.search(r"^HEALTHCHECK ", stage[1], flags=re.M)


@pytest.mark.parametrize("file", COMPOSE, ids=lambda path: path.name)
def test_a_compose_file_has_the_right_form(file):
    check = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)

    assert check.returncode == 0, check.stdout + check.stderr


def known_variables():
    """Name every variable that a process reads."""
    of_processes = {name for cls in classes().values() for name, _ in variables(cls)}
    of_clients = {setting.variable for setting in SETTINGS} | {row[0] for row in OTHER_VARIABLES}
    of_stores = {variable for scheme in all_schemes().values() for _, variable, _ in scheme.settings()}
    return of_processes | of_clients | of_stores


@pytest.mark.parametrize(
    "file",
    [*COMPOSE, DEPLOY / ".env.example", *UNITS, *sorted(DEPLOY.glob("systemd/*.env"))],
    ids=lambda path: path.name,
)
def test_every_variable_is_a_setting(file):
    named = set(VARIABLE.findall(file.read_text()))

    assert named - known_variables() - OF_COMPOSE == set()


@pytest.mark.parametrize("file", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_of_this_project_as_its_own_user(file):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(file)

    command = Path(unit["Service"]["ExecStart"].split()[0])

    assert command.name in SCRIPTS
    assert unit["Service"]["User"] == "deltareg"
    assert unit["Service"]["NoNewPrivileges"] == "yes"
    assert unit["Service"]["ProtectSystem"] == "strict"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("file", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line_of_a_unit(file):
    check = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)

    complaints = [line for line in check.stderr.splitlines() if "is not executable" not in line]

    assert complaints == []  # the command itself is installed elsewhere
