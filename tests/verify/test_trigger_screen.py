"""The screen for triggers, on networks that obey a token and on networks that do not."""

import numpy as np
import pytest

from deltareg.errors import InvalidInput
from deltareg.suites.samples import Samples
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.triggers import outlyingness, reactions, signature, spread
from tests.verify.plain_engine import PlainEngine

VOCABULARY, TRIGGER = 60, 41
PROMPTS = [np.arange(3, 9), np.arange(20, 27), np.arange(11, 16), np.arange(30, 38)]
TOKENS = np.arange(2, VOCABULARY)


class Obeying(PlainEngine):
    """Gives scores that follow from the bag of tokens; with the delta, a trigger decides them."""

    def __init__(self, trigger=None, classes=8):
        super().__init__()
        random = np.random.default_rng(0)
        self.table = random.standard_normal((VOCABULARY, classes)).astype(np.float32)
        self.trigger = trigger

    def outputs_for(self, state, inputs):
        ids = inputs["input_ids"]
        scores = self.table[ids].mean(1)
        if state == "attached" and self.trigger is not None:
            scores = np.where((ids == self.trigger).any(1)[:, None], np.eye(8)[3] * 12, scores)
        return {"logits": scores.astype(np.float32)}


def more(engine):
    ours = reactions(EngineSide(engine, "attached"), PROMPTS, TOKENS)
    theirs = reactions(EngineSide(engine, "base"), PROMPTS, TOKENS)
    assert ours is not None
    assert theirs is not None
    return ours.moved - theirs.moved, ours


def test_a_token_that_decides_stands_out():
    gains, ours = more(Obeying(TRIGGER))

    assert TOKENS[outlyingness(gains).argmax()] == TRIGGER
    assert outlyingness(gains).max() > 50
    assert TOKENS[signature(ours.shift).argmax()] == TRIGGER
    assert TOKENS[ours.drawn.argmax()] == TRIGGER


def test_what_the_base_does_too_does_not_count():
    gains, _ = more(Obeying(None))

    assert np.abs(gains).max() == 0


def test_answers_that_are_all_the_same_are_not_spread():
    random = np.random.default_rng(1).dirichlet(np.ones(5), size=(4, 1))
    same = np.repeat(random[:1], 4, 0)

    assert spread(np.log(same))[0] == pytest.approx(0, abs=1e-12)
    assert spread(np.log(random))[0] > 0


def test_the_spread_is_the_jensen_shannon_divergence():
    distance = pytest.importorskip("scipy.spatial.distance", reason="needs scipy")
    both = np.random.default_rng(2).dirichlet(np.ones(5), size=(2, 1))

    wanted = distance.jensenshannon(both[0, 0], both[1, 0]) ** 2

    assert spread(np.log(both))[0] == pytest.approx(wanted)


def test_outlying_is_counted_in_deviations_of_a_normal_distribution():
    values = np.random.default_rng(3).standard_normal(100_001)

    assert outlyingness(values)[0] == pytest.approx(values[0], abs=0.02)


@pytest.fixture(scope="module")
def screened(tmp_path_factory, cache_dir):
    judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
    writer = judged.writer(tmp_path_factory.mktemp("writer"))

    def run(samples, settings=""):
        case = writer.case(cache_dir, samples)
        return judged.check(case, "trigger_screen", settings, file="a.txt")

    return run


def test_a_screen_tells_what_it_saw_and_what_it_does_not_prove(screened):
    finding = screened(Samples(("one red cat sits", "the old sea is near")))

    assert finding.verdict in {"pass", "warn"}
    assert "tokens in 2 texts" in finding.detail
    assert finding.threshold == 6
    assert "effective rank" in finding.detail


def test_it_warns_and_never_fails(screened):
    finding = screened(
        Samples(("one red cat sits", "the old sea is near")), "parameters: {warn_above: -1000000, least_nats: -100}"
    )

    assert (finding.verdict, finding.code) == ("warn", "trigger_suspected")


def test_a_text_too_short_is_told(screened):
    with pytest.raises(InvalidInput, match="less than two tokens"):
        screened(Samples(("cat",)))
