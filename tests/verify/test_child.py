"""The child itself, in a real zygote and sandbox: what it makes of files, limits and devices."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from deltareg.errors import Inconclusive
from deltareg.gate.verifier import VERIFIER
from deltareg.suites.suite import read_suite
from deltareg_verify.command_line import labels
from deltareg_verify.messages.assignment import Assignment, VersionOnBase
from deltareg_verify.messages.report import CheckSurroundings, listen
from tests.verify.desk import lay_out


@pytest.fixture
def assignment(cache_dir, tmp_path):
    """Make the assignment of a sample; `delta` replaces its folder."""

    def make(sample="tinyllama/lora_qv", **changes):
        found = lay_out(sample, cache_dir, tmp_path)
        own = tmp_path / "own"
        own.mkdir(exist_ok=True)
        told = {
            "delta": found.delta,
            "manifest": found.manifest,
            "base": found.base,
            "base_manifest": found.base_manifest,
            "model_type": found.model_type,
            "suite": found.suite_file,
            "probes": found.probes,
            "scratch": own,
            "device": "cpu",
            "threads": 1,
            "wall_s": 60.0,
            "memory_bytes": 0,
            **changes,
        }
        return Assignment(**told)

    return make


def verify(zygote, assignment):
    return listen(zygote.run(b"verify " + assignment.encode(), wall_s=60))


def describe(zygote, device, scratch):
    wanted = json.dumps({"device": device, "scratch": str(scratch)}).encode()
    return listen(zygote.run(b"describe " + wanted, wall_s=60)).surroundings


def outcomes(report):
    return {check.name: check.verdict for check in report.checks}


def test_an_assignment_comes_through_as_it_was(assignment):
    made = assignment(device="cuda:1", memory_bytes=5)

    assert Assignment.decode(made.encode()) == made


def test_a_healthy_delta_is_examined_to_the_end(zygote, assignment):
    report = verify(zygote, assignment())

    assert set(outcomes(report).values()) <= {"pass", "n/a"}
    assert report.surroundings.dtype == "F32"


def test_a_version_beside_others_that_the_suite_names(zygote, assignment, tmp_path):
    suite = tmp_path / "kept.json"
    texts = ", ".join(f'"a text of number {number}"' for number in range(20))
    check = (
        "{check: perplexity, probes: texts, against: promoted, reference: me/x:v1,"
        " threshold: {min_relative_change: -0.5, greater_is_better: false}}"
    )
    text = f"name: kept\nsets: {{texts: {{text: [{texts}]}}}}\nchecks: [{check}]\n"
    suite.write_bytes(read_suite(text.encode()).document)
    made = assignment(suite=suite)
    other = VersionOnBase(made.delta, made.manifest, made.base, made.base_manifest)
    names = {"promoted": "me/x:v2", "me/x:v1": "me/x:v1"}

    report = verify(zygote, replace(made, promoted=other, references={"me/x:v1": other}, names=names))

    (check,) = report.checks
    assert (check.verdict, check.comparison.decision) == ("pass", "met")
    assert check.comparison.other in names.values()
    assert check.value == check.baseline


def test_the_whole_sandbox_allows_what_a_run_needs(zygote, assignment):
    """Also with an architecture whose classes nobody has imported yet."""
    report = verify(zygote, assignment("tinygpt2/lora", model_type="gpt2"))

    assert set(outcomes(report).values()) <= {"pass", "n/a"}


def test_a_warm_run_does_not_pay_for_imports(zygote, assignment):
    verify(zygote, assignment())
    took = min(seconds(lambda: verify(zygote, assignment())) for _ in range(3))

    imports = [sys.executable, "-c", "import torch, transformers; transformers.LlamaForCausalLM"]
    assert took < seconds(lambda: subprocess.run(imports, check=True))


def seconds(act):
    """Do it, and give how long it took."""
    started = time.monotonic()
    act()
    return time.monotonic() - started


def test_a_file_that_no_delta_may_hold_fails_without_being_read(zygote, assignment, tmp_path):
    folder = tmp_path / "delta"
    made = assignment()
    shutil.copytree(made.delta, folder)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'CANARY')!r}, 'w')")

    report = verify(zygote, assignment(delta=folder))

    assert report.checks[0].verdict == "fail"
    assert report.checks[0].code == "code_file"
    assert set(list(outcomes(report).values())[1:]) == {"skipped"}
    assert not (tmp_path / "CANARY").exists()


def test_too_little_memory_is_no_fault_of_the_delta(zygote, assignment):
    with pytest.raises(Inconclusive):
        verify(zygote, assignment(memory_bytes=1 << 20))


def test_a_base_without_its_files_is_no_fault_of_the_delta(zygote, assignment, tmp_path):
    base = tmp_path / "base"
    base.mkdir()

    with pytest.raises(Inconclusive):
        verify(zygote, assignment(base=base))


def test_a_suite_that_cannot_be_read_is_no_fault_of_the_delta(zygote, assignment, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text('{"name": "broken", "checks": ["never"]}')

    with pytest.raises(Inconclusive, match="'never' is no check"):
        verify(zygote, assignment(suite=broken))


def test_a_device_is_described(zygote, tmp_path):
    found = describe(zygote, "cpu", tmp_path)

    assert found.environment["device"] == "cpu"
    assert {"torch", "transformers", "python", "platform"} <= set(found.environment)
    assert "limits" in found.sandbox


def test_a_device_that_is_not_there_is_told(zygote, tmp_path):
    with pytest.raises(Inconclusive, match="torch sees no device cuda:99"):
        describe(zygote, "cuda:99", tmp_path)


def test_labels_say_what_a_worker_offers():
    found = {
        "device": "cuda:1",
        "gpu": "NVIDIA H100",
        "gpu_memory_bytes": str(80 << 30),
        "torch": "2.10.0",
        "cuda": "13.0",
        "driver": "580.95.05",
        "python": "3.11",
    }
    surroundings = CheckSurroundings(dtype="", sandbox="", environment=found)

    assert labels(surroundings) == {
        "device": "cuda",
        "gpu": "NVIDIA H100",
        "gpu_memory_gib": "80",
        "verifier": VERIFIER,
        "torch": "2.10.0",
        "cuda": "13.0",
        "driver": "580.95.05",
        "quantised": "fp8,int8,awq,gptq,bnb4,mxfp4",
        "prompts": "plain,chat",
    }
