"""The example of docs/howto/suites.md, from `suite push` to a verdict out of the sandbox."""

import sys

import pytest

from tests.verify.bench import SAMPLES, sample_base
from tests.verify.series import EXAMPLE, contents

RUN = (sys.executable, "-m", "deltareg_verify", "run", "--once", "--gpu", "cpu")


def test_the_rows_of_the_example_are_those_of_its_seed():
    assert {name: (EXAMPLE / name).read_text() for name in contents()} == contents()


def test_the_example_of_the_docs_is_the_one_that_runs(repository):
    told = (repository / "docs/howto/suites.md").read_text()

    assert (EXAMPLE / "suite.yaml").read_text() in told


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_task_of_lm_eval_decides_a_verdict(local_registry, processes, tmp_path):
    pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'deltareg[lm-eval]'")
    client = local_registry.client(("read", "push", "admin"))
    client.bases.push(sample_base("tinyllama"), "tinyllama")
    pushed = client.suites.push(EXAMPLE / "suite.yaml")
    delta = SAMPLES / "deltas/tinyllama/lora_qv"
    ref = client.push(delta, "team/lora", base="tinyllama").version.ref
    run = client.verify(ref, suite="series", priority="high")
    token = local_registry.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ(
        "worker", DELTAREG_TOKEN=token, DELTAREG_WORKER_THREADS="1", DELTAREG_SERVER=local_registry.url
    )

    worker = processes.start("worker", *RUN, "--scratch", str(tmp_path / "work"), environ=environ)

    assert worker.wait(110) == 0, worker.errors
    verdict = client.runs.show(run.id).verdict
    assert verdict.suite_digest == pushed.digest
    asked = {check.name: check for check in verdict.checks}["lm_eval"]
    assert asked.verdict in {"pass", "warn"}, asked.detail
    assert "acc of series" in asked.detail
    assert "n = 60" in asked.detail
    assert {"network", "files", "calls"} <= set(verdict.sandbox.split())
