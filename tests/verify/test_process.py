"""The worker as a process, over real HTTP: what it prints, how it ends, what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from deltareg.errors import InvalidInput
from deltareg_verify.command_line import sweep
from deltareg_verify.entry import main
from deltareg_verify.supervisor.settings import resolve
from tests.fixtures.processes import until
from tests.process_table import processes_below
from tests.verify.bench import SAMPLES, sample_base

REPOSITORY = str(Path(__file__).parents[2])
RUN = (sys.executable, "-m", "deltareg_verify", "run")


@pytest.fixture
def server(local_registry):
    """Run a registry with a base and one version that waits for its verdict."""
    client = local_registry.client()
    client.bases.push(sample_base("tinyllama"), "tinyllama")
    client.push(SAMPLES / "deltas/tinyllama/lora_qv", "team/lora", base="tinyllama")
    return local_registry


@pytest.fixture
def start(server, processes, tmp_path):
    """Start a worker with a token that may read and verify."""
    token = server.token("read", "verify", principal="worker", kind="wrk")

    def run(*options, token=token, url=server.url, program=RUN, **variables):
        environ = processes.environ(
            "worker", DELTAREG_TOKEN=token, DELTAREG_SERVER=url, DELTAREG_WORKER_THREADS="1", **variables
        )
        scratch = str(tmp_path / "scratch")
        return processes.start("worker", *program, "--scratch", scratch, *options, environ=environ)

    return run


def verdict(server):
    return server.client(("read",), principal="asker").show("team/lora").verdict


def is_idle(server):
    asker = server.client(("read",), principal="asker")
    return all(run.state not in {"queued", "running"} for run in asker.runs.list().items)


@pytest.mark.slow
def test_one_run_and_the_end(server, start):
    worker = start("--once", "--gpu", "cpu")

    assert worker.wait() == 0, worker.errors
    assert verdict(server) == "pass"
    assert "verdict=pass" in worker.errors


@pytest.mark.slow
def test_a_worker_that_waits_ends_at_once_when_asked(server, start):
    worker = start("--lease-wait", "60")
    until(lambda: verdict(server) == "pass" and is_idle(server), "all that was to be done is")
    below = processes_below(worker.pid)

    worker.send(signal.SIGTERM)

    assert worker.wait(30) == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "the zygote is gone")


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_no_process(server, start):
    worker = start("--lease-wait", "60")
    until(lambda: verdict(server) == "pass", "the first run has its verdict")
    below = processes_below(worker.pid)
    assert below

    worker.kill()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "the zygote is gone")


@pytest.mark.slow
def test_a_worker_ends_with_the_process_that_started_it(server, processes):
    script = "from deltareg_cli.runs.launch import ask; ask('run')"
    token = server.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ("worker", DELTAREG_TOKEN=token, DELTAREG_SERVER=server.url)
    parent = processes.start("worker", sys.executable, "-c", script, environ=environ)
    until(lambda: verdict(server) == "pass", "the first run has its verdict")
    below = processes_below(parent.pid)
    assert below

    parent.kill()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "the worker is gone")


def test_a_device_that_is_not_there_stops_the_start(start):
    worker = start("--gpu", "99")

    assert worker.wait() == 2
    assert "torch sees no device cuda:99" in worker.errors
    assert "--gpu cpu" in worker.errors


@pytest.mark.parametrize(
    ("wall", "variables", "told"),
    [
        ("calls", {}, "the sandbox leaks: a child can start a shell"),
        ("calls", {"DELTAREG_WORKER_ALLOW_ESCAPES": "calls"}, "the sandbox leaks"),
        ("missing_files", {}, "DELTAREG_WORKER_ALLOW_ESCAPES='files'"),
        ("", {"DELTAREG_WORKER_ALLOW_ESCAPES": "walls"}, "'walls'"),
    ],
)
def test_a_worker_does_not_start_where_a_child_gets_out(start, tmp_path, wall, variables, told):
    program = leaking(tmp_path, wall)

    worker = start("--gpu", "cpu", program=program, PYTHONPATH=REPOSITORY, **variables)

    assert worker.wait() == 2, worker.errors
    assert told in worker.errors
    assert "fix:" in worker.errors


@pytest.mark.slow
def test_what_is_accepted_is_in_the_verdict(server, start, tmp_path):
    program = leaking(tmp_path, "missing_files")

    worker = start(
        "--once", "--gpu", "cpu", program=program, PYTHONPATH=REPOSITORY, DELTAREG_WORKER_ALLOW_ESCAPES="files"
    )

    assert worker.wait() == 0, worker.errors
    found = server.client(("read",), principal="asker").verdicts.list("team/lora").items[0]
    assert {"read", "symlink"} <= set(found.environment["escapes"].split())


def leaking(folder, wall):
    """Run the worker with a wall of its sandbox taken down on purpose."""
    scratch = folder / "scratch"
    scratch.mkdir()
    (scratch / "leak").write_text(wall)
    script = (
        "import functools, sys; import deltareg_verify.command_line as worker\n"
        "worker.Zygote = functools.partial(worker.Zygote, child='tests.verify.leaky')\n"
        "worker.main(['run', *sys.argv[1:]])"
    )
    return (sys.executable, "-c", script)


def test_a_token_that_is_not_known_stops_the_worker(start):
    worker = start("--gpu", "cpu", token="drt_pat_" + "0" * 40)

    assert worker.wait() == 4
    assert "error:" in worker.errors
    assert "zygote" not in worker.errors  # it is told before anything dear is started


def test_no_token_shows_in_what_is_printed(server, start):
    token = server.token("read", "verify", principal="worker", kind="wrk")
    worker = start("--once", "--gpu", "cpu", token=token)
    worker.wait()

    assert token not in worker.errors + worker.output


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["run", "-h"]])
def test_help_says_what_it_does(words):
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0
    assert "versions" in result.output


def test_help_needs_no_torch():
    script = "import sys, deltareg_verify.command_line; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "False"


def test_a_device_that_is_none_is_refused():
    result = CliRunner().invoke(main, ["run", "--gpu", "toaster", "--server", "http://127.0.0.1:9"])

    assert result.exit_code == 2
    assert "not a device" in result.output


def test_only_run_folders_that_no_run_can_use_are_swept(tmp_path):
    for name in ("run-old", "run-new", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    os.utime(tmp_path / "run-old", (0, 0))
    os.utime(tmp_path / "other", (0, 0))

    sweep(tmp_path, now=time.time())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run-new"]


class TestSettings:
    def test_a_flag_wins_over_the_environment(self, monkeypatch):
        monkeypatch.setenv("DELTAREG_WORKER_NAME", "from-environment")
        monkeypatch.setenv("DELTAREG_WORKER_THREADS", "3")

        options = resolve({"name": "from-flag", "gpu": None}, is_once=True)

        assert (options.name, options.threads, options.gpu) == ("from-flag", 3, "auto")
        assert options.is_once

    def test_folders_are_separated_by_colons(self, monkeypatch):
        monkeypatch.setenv("DELTAREG_WORKER_BASE_DIRS", "/one:/two")

        assert resolve({}, is_once=False).base_dirs == (Path("/one"), Path("/two"))

    def test_kinds_of_runs_are_separated_by_spaces(self, monkeypatch):
        monkeypatch.setenv("DELTAREG_WORKER_ONLY", "prove reencode")

        assert resolve({}, is_once=False).only == ("prove", "reencode")

    def test_a_worker_has_a_name_of_its_own(self):
        assert str(os.getpid()) in resolve({}, is_once=False).name

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("LEASE_WAIT_S", "61"),
            ("RUN_TIMEOUT_S", "0"),
            ("THREADS", "-1"),
            ("MEMORY_BYTES", "x"),
            ("ONLY", "prove bake"),
        ],
    )
    def test_a_value_that_is_not_allowed_is_named(self, monkeypatch, variable, value):
        monkeypatch.setenv(f"DELTAREG_WORKER_{variable}", value)

        with pytest.raises(InvalidInput, match=f"DELTAREG_WORKER_{variable}"):
            resolve({}, is_once=False)


@pytest.mark.slow
def test_a_base_is_measured_once_for_all_its_versions(server, start):
    client = server.client()

    assert start("--once", "--gpu", "cpu").wait() == 0
    client.push(SAMPLES / "deltas/tinyllama/lora", "team/lora", base="tinyllama")
    assert start("--once", "--gpu", "cpu").wait() == 0

    probes = client.bases.probes("tinyllama")
    logs = [
        "\n".join(line.text for line in client.runs.log(run.id).items)
        for run in client.runs.list().items
        if run.what == "verify"
    ]
    assert [one.signed_by for one in probes.figures] == ["worker"]
    assert sum("measures tinyllama" in log for log in logs) == 1
    assert {client.show(f"team/lora:v{number}").verdict for number in (1, 2)} == {"pass"}
