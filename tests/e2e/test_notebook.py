"""The how-to for notebooks: its blocks are run as one program against a registry that runs."""

import ast
import re
import shutil
import threading

import pytest

from deltareg.wire import LeaseRequest
from tests.conftest import REPOSITORY
from tests.fixtures.registries import SAMPLES, report

HOWTO = REPOSITORY / "docs" / "howto" / "from-a-notebook.md"
BLOCKS = re.findall(r"```python\n(.*?)```", HOWTO.read_text(), re.DOTALL)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Give a folder with what somebody trained, as the working directory."""
    shutil.copytree(SAMPLES / "bases" / "tinyllama", tmp_path / "tinyllama")
    for number, name in enumerate(("lora", "lora_v2"), start=1):
        shutil.copytree(SAMPLES / "deltas" / "tinyllama" / name, tmp_path / f"chat-{number}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def judge(local_registry):
    """Let every verification pass, in a thread, as a worker would."""
    worker = local_registry.client(("read", "verify"), principal="worker", kind="wrk")
    ended = threading.Event()

    def work():
        while not ended.is_set():
            grant = worker.lease(LeaseRequest(worker="scripted", wait_s=1))
            if grant is not None:
                worker.complete_run(grant.run, report(grant))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    thread.join(30)


def run_cell(source, names):
    """Run a block as a notebook does, and give the value of its last line."""
    *before, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(compile(source, str(HOWTO), "exec"), names)
        return None
    exec(compile(ast.Module(before, []), str(HOWTO), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(HOWTO), "eval"), names)


def run_cells(blocks, told):
    """Run blocks in one namespace with what is told put in; give the names and what was shown."""
    names: dict[str, object] = {}
    shown = []
    for block in blocks:
        own = block
        for old, new in told.items():
            own = own.replace(old, new)
        shown.append(run_cell(own, names))
    return names, shown


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(local_registry, desk, judge, capsys):
    pytest.importorskip("transformers", reason="needs the verify extra")
    token = local_registry.token("read", "push", "promote", "admin", principal="ana")
    told = {"http://127.0.0.1:8642": local_registry.url, "drg_pat_…": token}

    names, shown = run_cells(BLOCKS, told)

    assert names["run"].verdict.verdict == "pass"
    assert ["team/chat:v2", "team/chat:v1"] in shown
    assert len(names["page"].items) == 1
    assert not names["changed"].equal(names["alone"])
    printed = capsys.readouterr().out
    assert "revoked" in printed
    assert "NotFound 3 not_found" in printed
    drawn = [one._repr_html_() for one in shown if hasattr(one, "_repr_html_")]
    assert len(drawn) >= 5
    assert any("<svg" in html and "change by layer" in html for html in drawn)


def test_every_class_that_a_program_may_catch_is_in_the_table():
    from deltareg import errors

    rows = re.findall(r"^\| (`.*?) \| (\d+) \|", HOWTO.read_text(), re.MULTILINE)
    drawn = {(name, int(code)) for names, code in rows for name in re.findall(r"`(\w+)`", names)}

    assert {name: getattr(errors, name).exit_code for name, _ in drawn} == dict(drawn)
    codes = {cls.exit_code for cls in errors.error_classes().values()} - {1}
    assert {code for _, code in drawn} == codes
