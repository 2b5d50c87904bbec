"""Running a suite: in order, stopping after a static failure, and never hiding a check."""

import pytest

from deltareg.errors import BaseMismatch, Inconclusive, IntegrityFailure, InvalidInput, Problem, Refused
from deltareg.suites.catalogue import CheckForm
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.examine import examine
from tests.verify.bench import sample_bench, suite_of


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir, suite=suite_of("one", "two", "three"))


def check(name, finding=None, *, error=None, **traits):
    def run(case, spec):
        if error is not None:
            raise error
        return finding or Finding("pass")

    return Check(name, run, CheckForm("what a test asks"), **traits)


def run(bench, *checks, waived=()):
    known = {each.name: each for each in checks}
    return list(examine(bench.case(), checks=known, waived=waived))


def verdicts(results):
    return [(result.name, result.verdict) for result in results]


def test_all_checks_run_in_the_suites_order(bench):
    results = run(bench, check("three"), check("two"), check("one"))

    assert verdicts(results) == [("one", "pass"), ("two", "pass"), ("three", "pass")]


def test_a_static_failure_ends_the_run_and_the_rest_is_listed(bench):
    sick = check("one", Finding("fail", code="digest"), is_static=True)

    results = run(bench, sick, check("two"), check("three"))

    assert verdicts(results) == [("one", "fail"), ("two", "skipped"), ("three", "skipped")]
    assert results[1].detail == "one failed before it"


def test_a_static_failure_in_the_middle_names_itself_to_all_that_follow(bench):
    sick = check("two", Finding("fail"), is_static=True)

    results = run(bench, check("one"), sick, check("three"))

    assert results[2].detail == "two failed before it"


def test_a_static_failure_that_is_answered_for_ends_nothing_and_another_one_does(bench):
    sick = check("one", Finding("fail"), is_static=True)
    worse = check("two", Finding("fail"), is_static=True)

    alone = run(bench, sick, check("two"), check("three"), waived=["one"])
    both = run(bench, sick, worse, check("three"), waived=["one"])

    assert verdicts(alone) == [("one", "fail"), ("two", "pass"), ("three", "pass")]
    assert verdicts(both) == [("one", "fail"), ("two", "fail"), ("three", "skipped")]


def test_any_other_failure_lets_the_rest_run(bench):
    results = run(bench, check("one", Finding("fail")), check("two"), check("three"))

    assert verdicts(results) == [("one", "fail"), ("two", "pass"), ("three", "pass")]


def test_a_static_warning_lets_the_rest_run(bench):
    results = run(bench, check("one", Finding("warn"), is_static=True), check("two"), check("three"))

    assert verdicts(results) == [("one", "warn"), ("two", "pass"), ("three", "pass")]


def test_a_check_that_the_worker_lacks_is_listed_as_skipped(bench):
    results = run(bench, check("one"), check("three"))

    assert verdicts(results) == [("one", "pass"), ("two", "skipped"), ("three", "pass")]
    assert "upgrade" in results[1].detail


def test_not_applicable_from_a_check_that_always_applies_is_skipped(bench, monkeypatch):
    monkeypatch.setattr(bench, "suite", suite_of("one", "effect", "golden", "three"))
    nothing = [check(name, Finding("n/a")) for name in ("one", "effect", "golden")]

    results = run(bench, *nothing, check("three"))

    assert verdicts(results) == [("one", "skipped"), ("effect", "skipped"), ("golden", "n/a"), ("three", "pass")]


def test_a_refusal_is_a_failure_with_its_code(bench):
    problems = [Problem("rank", "a note", "warning"), Problem("shape", "no fit", tensor="t")]

    result = run(bench, check("one", error=Refused(problems)))[0]

    assert (result.verdict, result.code) == ("fail", "shape")
    assert "no fit [t]" in result.detail


def test_wrong_bytes_are_a_failure(bench):
    result = run(bench, check("one", error=IntegrityFailure("not what it says")))[0]

    assert (result.verdict, result.code) == ("fail", "digest")


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("no such dtype"),
        BaseMismatch("another base"),
        RuntimeError("a kernel broke"),
        KeyError("logits"),
        AssertionError("never"),
        ZeroDivisionError(),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_check_that_breaks_is_skipped_and_says_why(bench, error):
    results = run(bench, check("one", error=error), check("two"), check("three"))

    assert verdicts(results) == [("one", "skipped"), ("two", "pass"), ("three", "pass")]
    assert results[0].detail.startswith("could not run")


@pytest.mark.parametrize("error", [Inconclusive("no room"), MemoryError()], ids=["ours", "Python's"])
def test_a_machine_that_cannot_do_it_ends_the_run_without_a_result(bench, error):
    with pytest.raises(Inconclusive):
        run(bench, check("one"), check("two", error=error), check("three"))


def test_each_result_has_its_seconds(bench):
    ticks = iter(range(100))
    case = bench.case()
    case.clock = lambda: float(next(ticks))

    results = list(examine(case, checks={"one": check("one")}))

    assert results[0].seconds == 1.0


@pytest.mark.parametrize("part", ["folder", "account", "engine"])
def test_each_part_of_a_case_is_made_once(bench, part):
    made = []

    def make(*_):
        made.append(part)
        return {"folder": bench.folder, "account": bench.assessment.account}.get(part, "engine")

    case = bench.case(**{part: make})

    assert getattr(case, part) is getattr(case, part)
    assert made == [part]


def test_the_dtype_is_that_of_most_elements(bench, cache_dir):
    assert bench.case().dtype == "F32"
    assert sample_bench("tinyllama_bf16/lora", cache_dir).case().dtype == "BF16"
