"""Checks that write, score and screen, from `suite push` to a verdict out of the sandbox."""

import sys

import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
pytest.importorskip("sacrebleu", reason="needs sacrebleu: pip install 'deltareg[texts]'")
RUN = (sys.executable, "-m", "deltareg_verify", "run", "--once", "--gpu", "cpu")
SUITE = """
name: judged
sets:
  answers: {file: answers.jsonl}
  kept: {file: kept.txt}
checks:
  - digests
  - {check: written_text, probes: answers, parameters: {least_samples: 1, new_tokens: 4}}
  - {check: written_text, name: by_words, probes: answers,
     parameters: {measure: rouge_l, least_samples: 1, new_tokens: 4}}
  - {check: generations, probes: kept, parameters: {measure: ended, new_tokens: 4}}
  - {check: canaries, probes: kept}
  - {check: memorisation, probes: kept, parameters: {tokens: 2}}
  - {check: trigger_screen, probes: kept}
"""


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_worker_judges_what_a_version_writes(local_registry, processes, tmp_path):
    one = judged.writer(tmp_path / "writer")
    (tmp_path / "answers.jsonl").write_text('{"text": "one red cat", "target": "sits near"}\n')
    (tmp_path / "kept.txt").write_text("the old sea is far\ntwo blue dog runs near\n")
    (tmp_path / "suite.yaml").write_text(SUITE)
    client = local_registry.client(("read", "push", "admin"))
    client.bases.push(one.base, "writer")
    client.suites.push(tmp_path / "suite.yaml")
    ref = client.push(one.delta, "team/lora", base="writer").version.ref
    run = client.verify(ref, suite="judged", priority="high")
    token = local_registry.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ(
        "worker", DELTAREG_TOKEN=token, DELTAREG_WORKER_THREADS="1", DELTAREG_SERVER=local_registry.url
    )

    worker = processes.start("worker", *RUN, "--scratch", str(tmp_path / "work"), environ=environ)

    assert worker.wait(500) == 0, worker.errors
    checks = {check.name: check for check in client.runs.show(run.id).verdict.checks}
    assert {c.verdict for n, c in checks.items() if n != "trigger_screen"} == {"pass"}, checks
    assert checks["trigger_screen"].verdict in {"pass", "warn"}
    assert "chrf" in checks["written_text"].detail
    assert "rouge_l" in checks["by_words"].detail
