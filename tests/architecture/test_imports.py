"""What the light packages may load: the base install has no torch, no SQL and no cloud SDK."""

import os
import subprocess
import sys

import pytest

from deltareg_cli.tree.command_tree import sections
from deltareg_cli.tree.front_page import SECTIONS

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "sqlalchemy",
    "alembic",
    "boto3",
    "botocore",
    "fastapi",
    "starlette",
    "uvicorn",
    "pydantic_settings",
    "prometheus_client",
    "psycopg",
)
UNCALLED = (
    "pydantic",
    "numpy",
    "safetensors",
    "yaml",
    "httpx",
    "jinja2",
    "deltareg.gate.judge",
    "deltareg.gate.policy",
)
COMMANDS = {
    f"deltareg_cli.commands.{folder}.{name}" for folder, title in SECTIONS.items() for name in sections()[title]
}
PROBE = "import sys, {module}; print(*sorted(set(sys.modules) & set({heavy})))"


def loaded_by(module, *, heavy=HEAVY):
    """Import a module in a fresh interpreter and tell which heavy packages came with it."""
    code = PROBE.format(module=module, heavy=heavy)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize("module", ["deltareg", "deltareg.client", "deltareg.golden", "deltareg_cli.frame"])
def test_the_client_and_the_command_line_load_nothing_heavy(module):
    assert loaded_by(module) == []


@pytest.mark.parametrize("module", ["deltareg.delta.fold", "deltareg.delta.kinds", "deltareg.codec"])
def test_the_core_loads_nothing_heavy(module):
    assert loaded_by(module) == []


def test_the_server_loads_no_torch():
    modules = "deltareg.api.app, deltareg_migrations.schema"

    assert loaded_by(modules, heavy=("torch", "transformers", "peft")) == []


def test_the_worker_loads_no_database_and_no_bucket():
    # securesystemslib takes boto3 along where it lies about; the worker starts where it does not.
    without = "sys; sys.modules.update(boto3=None, botocore=None); import deltareg_verify.command_line"

    assert loaded_by(without, heavy=("sqlalchemy", "alembic", "fastapi", "psycopg")) == []


def test_help_comes_without_numpy_or_the_client():
    """`deltareg --help` answers at once: what a command needs is loaded when it runs."""
    heavy = (*UNCALLED, "logging", "platformdirs", "tomllib", "deltareg_cli.terminal.drawing")

    assert loaded_by("deltareg_cli.frame", heavy=heavy) == []


def test_commands_are_there_before_what_they_compute_with():
    """Their help, and what a line was wrong in, need no messages, no tensors, no YAML and no connection."""
    names = sorted(COMMANDS)
    loading = f"importlib; [importlib.import_module(name) for name in {names}]"  # one is `import`

    assert loaded_by(loading, heavy=UNCALLED) == []


def test_asking_a_registry_something_needs_no_tensors_and_no_yaml():
    heavy = ("numpy", "safetensors", "yaml", "jinja2", "deltareg.gate.judge")

    assert loaded_by("deltareg.client.client", heavy=heavy) == []


def test_requests_come_without_the_command_line_of_httpx():
    """It would load a terminal library, for every command that asks a server something."""
    heavy = ("rich", "pygments", "httpx._main")

    assert loaded_by("deltareg.client.http", heavy=heavy) == []


CALLED = {  # what a command that asks a registry something loads of others' libraries, and nothing beside
    "ls": {"click", "httpcore", "httpx", "pydantic"},
    "pull": {"click", "httpcore", "httpx", "numpy", "pydantic"},
}
WATCHED = {"blosc2", "cryptography", "jinja2", "numpy", "regex", "rich", "safetensors", "securesystemslib", "yaml"}
WATCHED |= {"click", "httpcore", "httpx", "pydantic", "deltareg_verify"}
MOST_OF_OURS = {"ls": 85, "pull": 152}


@pytest.mark.parametrize("name", sorted(CALLED))
def test_a_command_loads_what_it_uses_and_no_more(name, shared_registry, tmp_path):
    """Each library, and each room of ours, is a part of the time that everybody waits for the command."""
    words = {"ls": ["ls"], "pull": ["pull", "team/lora@prod", "--to", str(tmp_path / "out")]}[name]
    code = f"import sys; from deltareg_cli.frame import run; run({words}); print(*sys.modules)"
    environ = os.environ | {"DELTAREG_SERVER": shared_registry.url, "DELTAREG_TOKEN": shared_registry.admin_token}
    environ |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)

    loaded = told.stdout.split()
    assert "v1" in told.stdout, told.stderr
    assert set(loaded) & WATCHED == CALLED[name]
    assert sum(module.startswith("deltareg") for module in loaded) <= MOST_OF_OURS[name]
    assert {"deltareg.codec.encoder", "deltareg.delta.kind", "deltareg.wire.runs"} & set(loaded) == set()
