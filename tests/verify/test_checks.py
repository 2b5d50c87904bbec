"""Each check on values that should and should not pass it."""

import numpy as np
import pytest

from deltareg.delta.kind import Account
from deltareg.errors import Problem
from deltareg.suites.catalogue import CATALOGUE
from deltareg_verify.engine.engine import FiredEffects, WeightChange
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.checks.norm_ratio import layer_type, outliers, size_ratios
from tests.architecture.generate_check_catalogue import FILE, generate
from tests.architecture.generated import is_current
from tests.verify.bench import SMOKE, sample_bench, suite_of
from tests.verify.plain_engine import PlainEngine, array

SPECS = {spec.name: spec for spec in SMOKE.checks}
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


@pytest.fixture
def find(bench):
    """Run one check of the smoke suite on an engine of plain values."""

    def run(name, **parts):
        case = bench.case(engine=lambda _: PlainEngine(**parts))
        return all_checks()[name].run(case, SPECS[name])

    return run


def test_every_check_of_the_smoke_suite_exists():
    assert {spec.check for spec in SMOKE.checks} <= set(all_checks())


def test_the_catalogue_of_suites_is_what_the_worker_has():
    assert {name: check.form for name, check in all_checks().items()} == dict(CATALOGUE)
    assert is_current(FILE, generate()), "suites/catalogue.json is behind; run: make docs"


def test_what_is_asked_of_every_version_always_applies():
    asked = {"digests", "accounting", "finite", "overflow", "effect", "exercised", "deterministic", "resources"}

    assert {name for name in asked if CATALOGUE[name].may_not_apply} == set()
    assert all(form.may_not_apply for form in CATALOGUE.values() if form.probes)


def test_what_a_delta_changes_is_sized_once_for_all_checks(bench):
    asked = []

    class Counting(PlainEngine):
        def changes(self):
            asked.append("sizes")
            return self.sizes

    case = bench.case(engine=lambda _: Counting())

    for name in ("norm_ratio", "idle", "spectral"):
        all_checks()[name].run(case, SPECS[name])

    assert asked == ["sizes"]


class TestNormRatio:
    def test_a_change_of_the_usual_size_passes(self, find):
        finding = find("norm_ratio", sizes=(WeightChange("a.weight", 0.5, 1.0),))

        assert (finding.verdict, finding.value, finding.threshold) == ("pass", 0.5, 30)

    @pytest.mark.parametrize("rms", [31.0, 170.0, INF, NAN])
    def test_an_exploding_change_fails(self, find, rms):
        finding = find("norm_ratio", sizes=(WeightChange("a.weight", rms, 1.0),))

        assert (finding.verdict, finding.code) == ("fail", "norm_ratio")
        assert "a.weight" in finding.detail

    @pytest.mark.parametrize(("rms", "verdict"), [(0.9, "pass"), (1.9, "warn"), (2.1, "fail")])
    def test_one_sick_layer_among_healthy_ones_is_noticed(self, find, rms, verdict):
        layers = [WeightChange(f"layers.{n}.q.weight", 0.1, 1.0) for n in range(5)]

        finding = find("norm_ratio", sizes=(*layers, WeightChange("layers.5.q.weight", rms, 1.0)))

        assert finding.verdict == verdict
        assert "layers.5.q.weight" in finding.detail

    def test_one_of_its_kind_among_healthy_others_is_warned_of_only(self, find):
        layers = [WeightChange(f"layers.{n}.q.weight", 0.1, 1.0) for n in range(5)]

        finding = find("norm_ratio", sizes=(*layers, WeightChange("embed.weight", 5.0, 1.0)))

        assert (finding.verdict, finding.code) == ("warn", "norm_ratio")

    def test_no_change_at_all_is_left_to_another_check(self, find):
        assert find("norm_ratio", sizes=(WeightChange("a.weight", 0.0, 1.0),)).verdict == "pass"

    def test_a_delta_without_weight_updates_is_not_asked(self, find):
        assert find("norm_ratio", sizes=()).verdict == "n/a"

    def test_a_weight_of_zero_counts_as_a_floor(self):
        changes = [WeightChange("a.weight", 0.1, 0.0), WeightChange("a.bias", 0.1, 0.0, is_vector=True)]

        ratios = size_ratios(changes, matrix_floor=0.01, vector_floor=0.5)

        assert ratios == pytest.approx({"a.weight": 10.0, "a.bias": 0.2})

    def test_a_type_is_a_name_without_its_layers_number(self):
        assert layer_type("model.layers.12.mlp.up_proj.weight") == "model.layers.*.mlp.up_proj.weight"
        assert layer_type("h.3.attn.7.w1") == "h.*.attn.*.w1"

    def test_few_of_a_type_are_held_against_all(self):
        ratios = {f"layers.{n}.q.weight": 0.1 for n in range(6)} | {"head.weight": 2.0}

        assert outliers(ratios, factor=10) == ["head.weight"]

    def test_where_most_change_nothing_there_are_no_outliers(self):
        ratios = {f"layers.{n}.q.weight": 0.0 for n in range(6)} | {"head.weight": 2.0}

        assert outliers(ratios, factor=10) == []


class TestEffect:
    def test_a_changed_output_passes(self, find):
        finding = find("effect")

        assert (finding.verdict, finding.value) == ("pass", 1.0)

    @pytest.mark.parametrize("change", [0.0, 1e-7])
    def test_an_unchanged_output_fails(self, find, change):
        finding = find("effect", base={"y": array(0, 0)}, attached={"y": array(0, change)})

        assert (finding.verdict, finding.code) == ("fail", "no_effect")

    def test_one_changed_output_of_several_is_enough(self, find):
        base = {"a": array(1), "b": array(1)}

        assert find("effect", base=base, attached=base | {"b": array(2)}).verdict == "pass"

    @pytest.mark.parametrize("value", [NAN, INF, -INF])
    def test_an_output_that_is_not_finite_fails(self, find, value):
        finding = find("effect", attached={"logits": array(1, 2, value)})

        assert (finding.verdict, finding.code) == ("fail", "non_finite")

    def test_an_effect_that_no_forward_uses_fails(self, find):
        finding = find("effect", took_part=FiredEffects(3, ("layers.7.q.weight",), ()))

        assert (finding.verdict, finding.code) == ("fail", "partial_application")
        assert "layers.7.q.weight" in finding.detail

    def test_an_effect_that_no_forward_uses_and_that_changes_nothing_is_warned_of(self, find):
        sizes = (WeightChange("cross.weight", 0.0, 1.0), WeightChange("q.weight", 0.1, 1.0))

        finding = find("effect", sizes=sizes, took_part=FiredEffects(3, ("cross.weight",), ()))

        assert finding.verdict == "warn"
        assert "no forward uses cross.weight, and the delta leaves that as it is" in finding.detail

    def test_hooks_of_which_half_give_back_what_they_are_given_fail(self, find):
        moved = {f"layers.{number}.mlp": number < 2 for number in range(4)}

        finding = find("effect", took_part=FiredEffects(4, (), (), moved=moved))

        assert (finding.verdict, finding.value, finding.threshold) == ("fail", 0.5, 0.25)
        assert finding.code == "partial_application"
        assert "2 of 4 give back what they are given, such as layers.2.mlp" in finding.detail

    def test_one_of_many_that_gives_back_what_it_is_given_is_warned_of(self, find):
        moved = {f"layers.{number}.mlp": number > 0 for number in range(8)}

        finding = find("effect", took_part=FiredEffects(8, (), (), moved=moved))

        assert finding.verdict == "warn"
        assert "1 of 8 give back what they are given, such as layers.0.mlp" in finding.detail

    def test_a_whole_type_of_hooks_may_stand_still(self, find):
        moved = {"encoder.0": False, "encoder.1": False, "decoder.0": True, "decoder.1": True}

        assert find("effect", took_part=FiredEffects(4, (), (), moved=moved)).verdict == "pass"

    def test_a_weight_that_the_network_has_no_place_for_shows_nothing(self, find):
        lost = ("layers.0.q.weight",)

        finding = find("effect", took_part=FiredEffects(3, (), lost, lost))

        assert finding.verdict == "skipped"
        assert "has no place for layers.0.q.weight" in finding.detail

    def test_an_addition_without_a_place_is_told_and_no_failure(self, find):
        finding = find("effect", took_part=FiredEffects(3, (), ("classifier.weight",)))

        assert finding.verdict == "pass"
        assert "classifier.weight" in finding.detail

    def test_nothing_but_additions_without_a_place_shows_nothing(self, find):
        finding = find("effect", took_part=FiredEffects(0, (), ("classifier.weight",)))

        assert finding.verdict == "skipped"

    def test_grown_logits_are_compared_where_both_have_values(self, find):
        finding = find("effect", base={"y": array(1, 2)}, attached={"y": array(1, 2, 9)})

        assert (finding.verdict, finding.code) == ("fail", "no_effect")


class TestAttachedEqualsFolded:
    def test_equal_outputs_pass(self, find):
        assert find("attached_equals_folded").verdict == "pass"

    @pytest.mark.parametrize(
        ("dtype", "fits", "differs"), [("F32", 5e-5, 1e-3), ("BF16", 0.1, 0.5), ("F16", 0.02, 0.2)]
    )
    def test_the_tolerance_is_that_of_the_dtype(self, find, dtype, fits, differs):
        parts = {"dtype": dtype, "base": {"y": array(0)}, "attached": {"y": array(1)}}

        near = find("attached_equals_folded", folded={"y": array(1 + fits)}, **parts)
        far = find("attached_equals_folded", folded={"y": array(1 + differs)}, **parts)

        assert (near.verdict, far.verdict, far.code) == ("pass", "fail", "attached_differs")

    def test_large_outputs_have_a_larger_tolerance(self, find):
        finding = find(
            "attached_equals_folded", base={"y": array(1000)}, attached={"y": array(1000)}, folded={"y": array(1000.05)}
        )

        assert finding.verdict == "pass"

    @pytest.mark.parametrize("value", [NAN, INF])
    def test_an_output_that_is_not_finite_fails(self, find, value):
        finding = find("attached_equals_folded", folded={"logits": array(1, 2, value)})

        assert finding.verdict == "fail"

    def test_a_weight_that_overflows_when_rounded_fails(self, find):
        finding = find("attached_equals_folded", dtype="F16", overflows=("a.weight",))

        assert (finding.verdict, finding.code) == ("fail", "overflow_after_cast")

    def test_a_delta_that_can_only_be_attached_is_not_asked(self, find):
        assert find("attached_equals_folded", is_foldable=False).verdict == "n/a"


class TestPerplexity:
    def found(self, bench, **parts):
        """Run the check on a text that a suite brings; `smoke` asks for none."""
        case = bench.case(engine=lambda _: PlainEngine(**parts))
        case.suite = suite_of("perplexity")
        return all_checks()["perplexity"].run(case, case.suite.checks[0])

    def test_what_is_measured_is_told(self, bench):
        finding = self.found(bench, perplexities={"base": 20.0, "attached": 39.0})

        assert (finding.verdict, finding.value) == ("pass", pytest.approx(39.0))

    def test_a_base_without_a_generative_head_lacks_the_measure(self, bench):
        finding = self.found(bench)

        assert (finding.verdict, finding.code) == ("fail", "missing_measure")


class TestDeterministic:
    def generated(self, bench, tokens):
        """Run the check as `deep` does; that of `smoke` asks for no tokens."""
        (spec,) = suite_of("deterministic").checks
        case = bench.case(engine=lambda _: PlainEngine(tokens=tokens))
        return all_checks()["deterministic"].run(case, spec)

    def test_equal_generations_pass(self, bench):
        tokens = [np.array([[1, 2]]), np.array([[1, 2]])]

        assert self.generated(bench, tokens).verdict == "pass"

    def test_unequal_generations_fail(self, bench):
        tokens = [np.array([[1, 2]]), np.array([[1, 3]])]

        finding = self.generated(bench, tokens)

        assert (finding.verdict, finding.code, finding.value) == ("fail", "non_deterministic", 1)

    def test_equal_forwards_pass_without_a_generative_head(self, find):
        assert find("deterministic").verdict == "pass"

    def test_unequal_forwards_fail(self, find):
        finding = find("deterministic", later={"logits": array(1, 2, 4.0000005)})

        assert (finding.verdict, finding.code) == ("fail", "non_deterministic")

    def test_a_base_that_draws_at_random_itself_is_warned_of(self, find):
        drawn = {"logits": array(3, 2, 1)}

        finding = find("deterministic", later=drawn, base_later=drawn)

        assert (finding.verdict, finding.code) == ("warn", "non_deterministic")
        assert "so do two of the base" in finding.detail

    def test_a_base_that_draws_at_random_does_not_hide_other_lengths(self, find):
        finding = find("deterministic", later={"logits": array(1, 2)})

        assert (finding.verdict, finding.value) == ("fail", 3)

    def test_the_same_nan_twice_is_no_difference(self, find):
        assert find("deterministic", attached={"logits": array(1, NAN, 2)}).verdict == "pass"


class TestAccounting:
    def find(self, bench, *problems, roles=None):
        account = bench.assessment.account
        made = Account((), account.roles if roles is None else roles, problems, account.modules)
        case = bench.case(account=lambda _: made)
        return all_checks()["accounting"].run(case, SPECS["accounting"])

    def test_a_delta_that_is_accounted_for_passes(self, bench):
        finding = self.find(bench)

        assert (finding.verdict, finding.value) == ("pass", 4)

    def test_the_first_error_is_the_code(self, bench):
        finding = self.find(
            bench,
            Problem("base_evidence", "a note", "warning"),
            Problem("shape", "does not fit", tensor="a.lora_A", fix="check the base"),
        )

        assert (finding.verdict, finding.code) == ("fail", "shape")
        assert "a.lora_A" in finding.detail
        assert "check the base" in finding.detail

    def test_a_note_is_a_warning(self, bench):
        finding = self.find(bench, Problem("rank", "larger than the weight", "warning"))

        assert (finding.verdict, finding.code) == ("warn", "")

    def test_a_tensor_that_no_effect_uses_fails(self, bench):
        finding = self.find(bench, roles={})

        assert (finding.verdict, finding.code) == ("fail", "unexpected_tensors")


def test_resources_only_tell(find):
    finding = find("resources")

    assert finding.verdict == "pass"
    assert "MB" in finding.detail
