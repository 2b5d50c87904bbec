"""The same delta gets the same verdict every time, on one thread or two, in a child each time."""

from dataclasses import replace

import pytest

from deltareg_verify.messages.report import listen
from deltareg_verify.sandbox.zygote import Zygote
from tests.verify.assigned import WALL_S, lay_out, with_figures
from tests.verify.bench import SAMPLES, convention_of, listed, sample_base

HEALTHY = ("tinyllama/lora", "tinyllama/lora_dora", "tinygpt2/lora", "tinyllama/full")
BROKEN = ("bad/dead_zero_b", "bad/exploding")


def told(zygote, assignment, threads):
    """Verify once; gives of each check what it came to and its code."""
    said = zygote.run(b"verify " + replace(assignment, threads=threads).encode(), wall_s=WALL_S)
    return {check.name: (check.verdict, check.code) for check in listen(said).checks}


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sample", [*HEALTHY, *BROKEN])
def test_twenty_repeats_on_one_thread_or_two_come_to_the_same(tmp_path, sample):
    entry = listed("bad" if sample.startswith("bad/") else "deltas")[sample]
    path = SAMPLES / entry["path"]
    laid = lay_out(tmp_path, sample_base(entry["base"]), path, convention=convention_of(path))

    with Zygote(tmp_path, environment={}) as zygote:
        assignment = with_figures(zygote, laid)
        found = [told(zygote, assignment, 1 + n % 2) for n in range(20)]

    assert {*found[0]} >= {"digests", "effect"}
    others = [sorted({*one.items()} ^ {*found[0].items()}) for one in found[1:]]
    assert not [other for other in others if other]
