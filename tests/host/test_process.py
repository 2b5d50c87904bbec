"""How processes of ours begin and end: what is missing is named, Ctrl-C is no page of frames."""

import importlib
import signal
import subprocess
import sys
import time

import pytest

from deltareg.errors import DeltaregError, DiskFull, Unavailable, error_classes
from deltareg.host.process import explain_errors, status_of
from deltareg_cli.exits import exit_status

# A Python that does not find some packages, as where the extras are not installed.
WITHOUT = """
import importlib.machinery, sys
missing, module = {missing!r}, {module!r}
found = importlib.machinery.PathFinder.find_spec
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else found(name, path, target)
sys.meta_path = [
    Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path
]
sys.argv = [module, *{words!r}]
import importlib
importlib.import_module(module).main()
"""
SERVER = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings", "boto3")
VERIFY = ("torch", "transformers", "pydantic_settings")


@pytest.mark.parametrize(
    ("module", "words", "missing", "extra"),
    [
        ("deltareg.api.__main__", ["up"], SERVER, "server"),
        ("deltareg.api.__main__", ["check"], SERVER, "server"),
        ("deltareg_migrations.__main__", ["upgrade"], SERVER, "server"),
        ("deltareg_verify.__main__", ["run"], VERIFY, "verify"),
    ],
)
def test_a_program_of_the_base_install_says_what_is_missing(module, words, missing, extra):
    code = WITHOUT.format(missing=missing, module=module, words=words)

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: this needs the {extra} part, which is not installed (")
    assert ended.stderr.endswith("fix:   pip install 'deltareg[all]'\n")
    assert len(ended.stderr.splitlines()) == 2


def test_statuses_are_those_of_the_table():
    for cls in error_classes().values():
        error = cls.__new__(cls)
        DeltaregError.__init__(error, "x")
        if cls.code not in {
            "refused",
            "base_mismatch",
            "gate_failed",
            "gate_pending",
            "approval_due",
            "blocked",
            "new_base",
            "wait_timeout",
            "difference",
            "blob_missing",
        }:  # what no such process ends with
            assert status_of(error) == exit_status(error), cls.__name__


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (Unavailable("it is away", fix="try again"), 75, "error: it is away\nfix:   try again\n"),
        (DiskFull("it is full"), 12, "error: it is full\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_end_is_explained(capsys, error, status, told):
    with pytest.raises(SystemExit) as ended, explain_errors():
        raise error

    assert ended.value.code == status
    assert capsys.readouterr().err == told


def test_ctrl_c_in_the_midst_of_imports_ends_without_a_word(tmp_path):
    (tmp_path / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from deltareg.host.interrupts import ending_at_once\n"
        "with ending_at_once():\n    import slow"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"importing\n"

        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=30)

    assert program.returncode == -signal.SIGINT
    assert said == b""


def test_every_program_is_guarded_before_its_imports():
    for module in (
        "deltareg_cli.main",
        "deltareg.api.__main__",
        "deltareg_verify.__main__",
        "deltareg_migrations.__main__",
    ):
        code = f"import {module}, sys; print(len([m for m in sys.modules if 'deltareg' in m]))"
        began = time.monotonic()
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        assert int(told) <= 6, f"{module} imports before it is guarded"
        assert time.monotonic() - began < 30
        assert callable(importlib.import_module(module).main)
