"""The checks of destruction and of batching, on figures that should and should not pass them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import entropy
from torch.distributions import Categorical
from torch.nn.functional import cosine_similarity

from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.engine.torch_engine.batching import LENGTHS, BatchCapabilities, deviations
from deltareg_verify.engine.torch_engine.spread import classes_of, spreads_of
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.messages.figures import ClassFigures, Figures, ProbeLoss, TokenOdds, VectorSpread
from tests.verify.bench import SAMPLES, SMOKE, Bench, sample_base, sample_bench
from tests.verify.plain_engine import PlainEngine

SPECS = {spec.name: spec for spec in SMOKE.checks}
NAN, INF = float("nan"), float("inf")
BASE = Figures(
    losses={"en": ProbeLoss(300.0, 100), "zh": ProbeLoss(900.0, 100)},
    special={"eos": TokenOdds(0.001, -9.0), "newline": TokenOdds(0.02, -6.0)},
    classes=ClassFigures(4, 1.2, 0.4, 0.5),
    spreads={"sentence_embedding": VectorSpread(0.8, 5.0)},
    batching={"batch": 1e-6, "padded_left": 0.3},
)


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


@pytest.fixture
def find(bench):
    """Run one check of the smoke suite on figures of a base and of a delta on it."""

    def run(name, base=BASE, **changes):
        ours = replace(base, **changes)
        engine = PlainEngine(figures={"base": base, "attached": ours})
        return all_checks()[name].run(bench.case(engine=lambda _: engine), SPECS[name])

    return run


class TestGeneralPerplexity:
    @pytest.mark.parametrize(("times", "verdict"), [(1.0, "pass"), (2.9, "pass"), (3.1, "fail")])
    def test_three_times_the_base_fails(self, find, times, verdict):
        rise = 100 * np.log(times)

        finding = find(
            "general_perplexity", losses={"en": ProbeLoss(300 + rise, 100), "zh": ProbeLoss(900 + rise, 100)}
        )

        assert finding.verdict == verdict
        assert finding.value == pytest.approx(finding.baseline * times)

    def test_what_the_base_never_knew_does_not_hide_what_it_loses(self, find):
        """As a whole it would be e^0.9 times the base, 2.5; English alone is e^1.8, 6 times."""
        finding = find("general_perplexity", losses={"en": ProbeLoss(480.0, 100), "zh": ProbeLoss(900.0, 100)})

        assert (finding.verdict, finding.code) == ("fail", "worse_than_base")
        assert "worst in en" in finding.detail

    @pytest.mark.parametrize(("before", "verdict"), [(500.0, "fail"), (590.0, "fail"), (600.0, "pass")])
    def test_what_the_base_predicts_worse_than_a_blind_guess_decides_nothing_alone(self, find, before, verdict):
        """Over all it is four times as bad. Of 384 tokens a blind guess loses 595 nats at a hundred places."""
        base = Figures(losses={"en": ProbeLoss(300.0, 100), "ru": ProbeLoss(before, 100)})
        finding = find("general_perplexity", base, losses={**base.losses, "ru": ProbeLoss(before + 280, 100)})

        assert finding.verdict == verdict

    def test_only_what_the_base_knows_is_named(self, find):
        """Its vocabulary has 384 tokens: a blind guess loses 5.95 nats at each."""
        knows = find("general_perplexity", Figures(losses={"en": ProbeLoss(250.0, 100), "zh": ProbeLoss(500.0, 90)}))
        guesses = find("general_perplexity", Figures(losses={"en": ProbeLoss(550.0, 100), "c": ProbeLoss(560.0, 100)}))

        assert knows.detail.endswith("; the base knows best: en")
        assert "knows" not in guesses.detail

    @pytest.mark.parametrize("total", [NAN, INF])
    def test_a_loss_that_is_no_number_fails(self, find, total):
        finding = find("general_perplexity", losses={"en": ProbeLoss(total, 100), "zh": ProbeLoss(9.0, 100)})

        assert finding.verdict == "fail"

    def test_a_base_that_predicts_nothing_is_not_asked(self, find):
        finding = find("general_perplexity", base=Figures(refusal="ValueError: no words"))

        assert finding.verdict == "n/a"
        assert "no words" in finding.detail


class TestSpecialTokens:
    @pytest.mark.parametrize(
        ("odds", "verdict"),
        [
            (TokenOdds(0.05, -5.0), "pass"),  # a tune that ends its answers
            (TokenOdds(0.9, -0.2), "fail"),  # ends everything
            (TokenOdds(0.0, -60.0), "fail"),  # ends nothing
            (TokenOdds(NAN, NAN), "fail"),
        ],
    )
    def test_an_end_that_is_everywhere_or_nowhere_fails(self, find, odds, verdict):
        finding = find("special_tokens", special={**BASE.special, "eos": odds})

        assert finding.verdict == verdict
        assert finding.code == ("" if verdict == "pass" else "special_tokens")

    def test_a_base_without_a_tokenizer_is_not_asked(self, find):
        assert find("special_tokens", base=Figures()).verdict == "n/a"


class TestClassEntropy:
    @pytest.mark.parametrize(
        ("classes", "verdict"),
        [
            (ClassFigures(4, 0.05, 0.04, 0.2), "pass"),  # sure of one class, and still looks
            (ClassFigures(4, 0.3, 0.3, 0.001), "fail"),  # says the same, whatever it is given
            (ClassFigures(7, 0.3, 0.3, 0.001), "fail"),  # another head, of which the base tells nothing
            (ClassFigures(4, NAN, NAN, NAN), "fail"),
            (ClassFigures(4, 1.38, 1.375, 0.2), "fail"),  # unsure of each, and no input changes that
            (ClassFigures(4, 0.8, 0.796, 0.2), "fail"),  # as often one class, whatever it is given
            (ClassFigures(4, 1.38, 1.36, 0.2), "pass"),
            (ClassFigures(7, 1.9, 1.89, 0.2), "pass"),  # another head
        ],
    )
    def test_one_answer_for_all_fails(self, find, classes, verdict):
        assert find("class_entropy", classes=classes).verdict == verdict

    def test_probes_that_are_all_alike_to_the_base_tell_nothing(self, find):
        base = replace(BASE, classes=ClassFigures(4, 0.3, 0.3, 0.001))

        assert find("class_entropy", base=base).verdict == "pass"

    def test_a_base_that_tells_nothing_of_its_probes_is_no_measure(self, find):
        base = replace(BASE, classes=ClassFigures(4, 1.33, 1.3, 0.5))

        finding = find("class_entropy", base=base, classes=ClassFigures(4, 1.38, 1.38, 0.2))

        assert finding.verdict == "pass"

    @pytest.mark.parametrize(("informed", "verdict"), [(0.5, "pass"), (0.02, "fail")])
    def test_what_writes_nothing_whatever_it_hears_fails(self, find, informed, verdict):
        base = replace(BASE, classes=ClassFigures(7, 0.9, 0.5, 0.5, of_frames=True))
        ours = ClassFigures(7, 0.5 + informed, 0.5, 0.2, of_frames=True)

        assert find("class_entropy", base=base, classes=ours).verdict == verdict

    def test_the_measure_is_what_scipy_calls_mutual_information(self):
        said = np.random.default_rng(5).dirichlet([0.3] * 4, size=200)
        given = ClassFigures(4, float(entropy(said.mean(0))), float(entropy(said, axis=1).mean()), 1.0)

        # I(input; class) of inputs that are equally likely is the mean divergence from the mean.
        assert given.informed == pytest.approx(entropy(said, said.mean(0), axis=1).mean())

    def test_what_names_no_classes_is_not_asked(self, find):
        assert find("class_entropy", classes=None).verdict == "n/a"


class TestEmbeddingSpread:
    @pytest.mark.parametrize(
        ("spread", "verdict"),
        [
            (VectorSpread(0.4, 5.0), "pass"),
            (VectorSpread(0.01, 5.0), "fail"),  # all alike
            (VectorSpread(0.8, 5_000.0), "fail"),  # of another size
            (VectorSpread(0.8, 0.0), "fail"),
            (VectorSpread(NAN, 5.0), "fail"),
        ],
    )
    def test_vectors_that_are_all_alike_fail(self, find, spread, verdict):
        finding = find("embedding_spread", spreads={"sentence_embedding": spread})

        assert finding.verdict == verdict
        assert finding.code == ("" if verdict == "pass" else "collapsed")

    def test_less_is_asked_where_the_base_keeps_inputs_close_together(self, find):
        base = replace(BASE, spreads={"pooler_output": VectorSpread(0.1, 5.0)})

        finding = find("embedding_spread", base=base, spreads={"pooler_output": VectorSpread(0.002, 5.0)})

        assert (finding.verdict, finding.threshold) == ("pass", 0.01)


class TestBatching:
    @pytest.mark.parametrize(
        ("batch", "left", "verdict"), [(2e-6, 0.3, "pass"), (0.2, 0.3, "fail"), (2e-6, 1.6, "fail"), (NAN, 0.3, "fail")]
    )
    def test_more_than_the_base_differs_from_itself_fails(self, find, batch, left, verdict):
        finding = find("batching", batching={"batch": batch, "padded_left": left})

        assert finding.verdict == verdict
        assert finding.code == ("" if verdict == "pass" else "batching_differs")

    def test_a_way_that_the_delta_is_not_asked_for_does_not_count(self, find):
        assert find("batching", batching={"batch": 1e-6}).verdict == "pass"

    def test_a_head_of_its_own_is_not_asked_about_positions_that_nobody_trained(self, find):
        far = {"batch": 1e-6, "longest": 1.6}
        plain = replace(BASE, classes=None, batching={"batch": 1e-6, "longest": 0.01})

        assert find("batching", base=plain, batching=far).verdict == "fail"
        assert find("batching", base=plain, batching=far, classes=BASE.classes).verdict == "pass"

    def test_a_base_that_reads_no_text_is_not_asked(self, find):
        assert find("batching", base=Figures()).verdict == "n/a"


@pytest.mark.parametrize(
    ("peak", "middle", "verdict"), [(0.3, 0.1, "pass"), (9.0, 0.1, "fail"), (0.2, 0.001, "pass"), (9.0, 8.0, "pass")]
)
def test_a_row_has_to_stand_out_of_its_matrix_and_of_the_weight(bench, peak, middle, verdict):
    change = WeightChange("a.0.weight", 0.1, 1.0, row_peak=peak, row_middle=middle, row=3)
    case = bench.case(engine=lambda _: PlainEngine(sizes=(change,)))

    finding = all_checks()["rows"].run(case, SPECS["rows"])

    assert (finding.verdict, "row 3 of a.0.weight" in finding.detail) == (verdict, True)


@pytest.fixture
def edited(tmp_path, cache_dir):
    """Change the tensors of a LoRA on q and v, and put it before its checks."""

    def make(change):
        folder = tmp_path / "edited"
        shutil.copytree(SAMPLES / "deltas" / "tinyllama" / "lora_qv", folder)
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        for name, value in tensors.items():
            change(name, value)
        save_file(tensors, file, {"format": "pt"})
        return Bench(folder, sample_base("tinyllama"), cache_dir)

    return make


def outcome(bench, name):
    return all_checks()[name].run(bench.case(), SPECS[name])


def test_a_row_that_was_overwritten_is_found_and_numpy_finds_the_same(edited):
    def overwrite(name, value):
        if name.endswith("layers.1.self_attn.v_proj.lora_B.weight"):
            value[5] *= 400

    bench = edited(overwrite)

    finding = outcome(bench, "rows")

    (own,) = (c for c in bench.engine().changes() if c.target.endswith("layers.1.self_attn.v_proj.weight"))
    tensors = load_file(bench.folder.path / "adapter_model.safetensors")
    left, right = (
        next(v for n, v in tensors.items() if f"layers.1.self_attn.v_proj.lora_{part}" in n) for part in "BA"
    )
    rows = np.sqrt(np.square(left.astype(np.float64) @ right).mean(1))
    assert (finding.verdict, finding.code, own.row) == ("fail", "norm_ratio", 5)
    assert own.row_peak / own.row_middle == pytest.approx(rows.max() / np.sort(rows)[(len(rows) - 1) // 2])


def test_a_type_of_module_of_which_nothing_moved_fails(edited):
    def untrain(name, value):
        if "q_proj.lora_B" in name:
            value[:] = 0

    bench = edited(untrain)

    finding = outcome(bench, "module_types")

    assert outcome(bench, "idle").verdict == "warn"
    assert (finding.verdict, finding.code) == ("fail", "partial_application")
    assert "q_proj" in finding.detail


def test_a_base_that_was_measured_is_not_run_again(bench):
    asked = []

    class Counting(PlainEngine):
        def general(self, state, probes, *, ways=None):
            asked.append((state, sorted(ways)))
            return super().general(state, probes, ways=ways)

    case = bench.case(engine=lambda _: Counting(figures={"attached": BASE}), figures=lambda: BASE)

    for name in ("general_perplexity", "special_tokens", "batching"):
        assert all_checks()[name].run(case, SPECS[name]).verdict == "pass"

    assert asked == [("attached", ["batch", "padded_left"])]


def test_spread_is_what_torch_computes_pair_by_pair():
    rows = torch.from_numpy(np.random.default_rng(1).normal(1, 1, (7, 5)).astype(np.float32))

    found = spreads_of({"text_embeds": rows, "loss": rows}, None)

    alike = cosine_similarity(rows.double()[:, None], rows.double()[None], dim=-1)
    pairs = alike[~torch.eye(7, dtype=torch.bool)]
    assert found.keys() == {"text_embeds"}
    assert found["text_embeds"].distance == pytest.approx(1 - float(pairs.mean()), abs=1e-9)


def test_one_number_for_an_input_has_no_direction_to_compare():
    returns = torch.randn(4, 6, 1)  # what a Decision Transformer foresees

    assert spreads_of({"return_preds": returns, "action_preds": returns.expand(4, 6, 3)}, None).keys() == {
        "action_preds"
    }


def test_the_entropy_of_classes_is_what_torch_computes():
    logits = torch.from_numpy(np.random.default_rng(2).normal(0, 2, (9, 4)))

    found = classes_of(logits)

    said = Categorical(logits=logits)
    assert found is not None
    assert found.said == pytest.approx(float(Categorical(probs=said.probs.mean(0)).entropy()))
    assert found.sure == pytest.approx(float(said.entropy().mean()))


def ways():
    return BatchCapabilities(pad=0, device=torch.device("cpu"), beside=lambda _: {}, pads_left=True)


TEXTS = [list(range(1, 17))] * len(LENGTHS)


def test_a_network_that_looks_at_the_whole_batch_is_found():
    def run(inputs):
        ids = inputs["input_ids"].float()[:, :, None]
        return {"logits": ids + 0.1 * ids.mean()}

    found = deviations(TEXTS, run, ways())

    assert found["batch"] > 0.005


def test_a_network_that_looks_at_each_token_alone_is_the_same_in_every_way():
    found = deviations(TEXTS, lambda inputs: {"logits": inputs["input_ids"].float()[:, :, None]}, ways())

    assert found == {"batch": 0.0, "padded_left": 0.0}


def test_what_a_base_refuses_is_left_out_and_what_a_delta_refuses_is_not():
    def run(inputs):
        if not inputs["attention_mask"][:, 0].all():
            raise ValueError("no padding on the left")
        return {"logits": inputs["input_ids"].float()[:, :, None]}

    assert deviations(TEXTS, run, ways()).keys() == {"batch"}
    with pytest.raises(ValueError, match="no padding"):
        deviations(TEXTS, run, ways(), only={"padded_left"})
