"""A base whose chat template never ends: what that costs, and how often."""

import shutil
from dataclasses import replace

import pytest

pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
from tests.fixtures.registries import SAMPLES

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
BASE, DELTA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"
ROWS = "{% for a in range(99999) %}{% for b in range(99999) %}{% if a > 99998 %}x{% endif %}{% endfor %}{% endfor %}"


@pytest.fixture
def worker(find):
    """Give a worker that carries out a run within so much time, and gives the run as it ended."""

    def carry_out(run, *, run_timeout_s):
        options = replace(find.worker.options, run_timeout_s=run_timeout_s)
        find.worker = replace(
            find.worker, options=options, measures=replace(find.worker.measures, options=options, _known={})
        )
        return find(run, labels={"device": "cpu"})

    return carry_out


@pytest.fixture
def pushed(local_registry, tmp_path):
    """Push a base with a chat template, and versions of it; gives their verifications."""

    def push(template, count):
        client = local_registry.client()
        folder = tmp_path / "base"
        shutil.copytree(BASE, folder)
        (folder / "chat_template.jinja").write_text(template)
        client.bases.push(folder, "hostile")
        refs = [client.push(DELTA, f"team/line-{number}", base="hostile").version.ref for number in range(count)]
        return [client.verify(ref) for ref in refs]

    return push


def test_a_template_that_never_ends_costs_half_a_run_once(local_registry, worker, pushed):
    first, second = pushed(ROWS, 2)

    ended = worker(first, run_timeout_s=4)

    assert (ended.state, ended.attempt) == ("dead", 1)
    assert ended.verdict.verdict == "inconclusive"
    assert ended.verdict.checks[0].code == "base_unmeasured"
    assert "the child ran out of time and was killed: it may take 2 s" in ended.verdict.checks[0].detail
    assert local_registry.client().runs.show(second.id).state == "queued"
