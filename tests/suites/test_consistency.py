"""Suites that do not hold together: what is refused, with what to do, and what is fine."""

import pytest

from deltareg.errors import InvalidInput
from deltareg.suites.consistency import contradictions, refuse_contradictions
from deltareg.suites.suite import built_in, parse_suite, read_suite

CHECK = "{{check: {check}, probes: own, {more}}}"
KEPT = "against: promoted, threshold: {min_absolute_change: -0.05}"


def suite(*more, check="accuracy"):
    lines = "".join(f"  - {CHECK.format(check=check, more=f'name: c{at}, {one}')}\n" for at, one in enumerate(more))
    return read_suite(f"name: mine\nsets: {{own: {{file: own.jsonl}}}}\nchecks:\n  - finite\n{lines}".encode())


@pytest.mark.parametrize(
    ("more", "check", "told"),
    [
        (f"{KEPT}, parameters: {{missing: n/a}}", "accuracy", "nobody says why"),
        ("threshold: {threshold: 5}", "perplexity", "of which less is better"),
        ("threshold: {threshold: 0.2, greater_is_better: false}", "accuracy", "of which more is better"),
        ("threshold: {threshold: 85}", "accuracy", "it is a share, 1 at most"),
        ("threshold: {threshold: 0}", "accuracy", "gets nothing right"),
        ("threshold: {min_absolute_change: -1}", "accuracy", "gets nothing right"),
        ("against: promoted, threshold: {min_relative_change: -1.0}", "accuracy", "gets nothing right"),
    ],
)
def test_a_line_that_judges_nothing_or_the_wrong_way_is_refused(more, check, told):
    (found,) = contradictions(suite(more, check=check))

    assert (found.where, told in found.message, bool(found.fix)) == ("c0", True, True)
    with pytest.raises(InvalidInput, match="check c0"):
        refuse_contradictions(suite(more, check=check))


@pytest.mark.parametrize(
    "more",
    [
        KEPT,
        f"{KEPT}, reference: best",
        f"{KEPT}, reference: best of 5",  # from the beginning, too: others stand in until there is one
        f'{KEPT}, "n/a": the base has no head',
        f"{KEPT}, required: false, parameters: {{missing: n/a}}",
        "threshold: {threshold: 0, min_absolute_change: -0.1}",
        "required: false",
    ],
)
def test_what_can_be_judged_is_fine(more):
    assert contradictions(suite(more)) == []


def test_versions_of_two_namespaces_can_never_both_be_compared_with():
    named = [f"against: {ref}, threshold: {{threshold: 0.5}}" for ref in ("me/chat:v3", "you/chat:v1", "me/other:v2")]

    assert [one.where for one in contradictions(suite(*named))] == ["c1"]


def test_a_suite_that_can_only_warn_judges_nothing():
    text = f"name: mine\nsets: {{own: {{file: a.jsonl}}}}\nchecks: [{CHECK.format(check='accuracy', more=KEPT)}]"
    warns = text.replace("}]", ", parameters: {worse: warn}}]")

    assert [one.where for one in contradictions(read_suite(warns.encode()))] == [""]
    assert contradictions(read_suite(text.encode())) == []


@pytest.mark.parametrize("name", ["smoke", "deep", "golden", "static"])
def test_built_in_suites_hold_a_line_to_its_level(name):
    assert built_in(name).drifting == ()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('against: base, "n/a": yes', "the reason, in a few words"),
        ('against: base, "n/a": because', "the reason, in a few words"),
    ],
)
def test_a_reason_is_a_reason(more, told):
    with pytest.raises(InvalidInput, match=told):
        suite(more)


def test_a_check_that_compares_nothing_takes_no_reason():
    with pytest.raises(InvalidInput, match="compares nothing that could be lacking"):
        read_suite(b'name: mine\nchecks: [{check: finite, "n/a": it need not be}]')


def test_a_reason_is_part_of_the_suite_and_none_leaves_it_as_it_was():
    plain, told = suite(KEPT), suite(f'{KEPT}, "n/a": the base has no head')

    assert b"n/a" not in plain.document.replace(b'"missing":"fail"', b"")
    assert told.checks[1].unmeasured == "the base has no head"
    assert (plain.checks[1].may_not_apply, told.checks[1].may_not_apply) == (False, True)
    assert parse_suite(told.document) == told
    assert told.digest != plain.digest


@pytest.mark.parametrize(
    ("more", "drifts"),
    [
        (KEPT, True),
        (f"{KEPT}, reference: best of 5", True),  # it forgets
        (f"{KEPT}, reference: base", True),
        (f"{KEPT}, reference: best", False),
        (f"{KEPT}, reference: me/chat:v1", False),
        ("against: best, threshold: {min_absolute_change: -0.05}", False),
        (f"{KEPT}, required: false", False),
        ("threshold: {min_absolute_change: 0.05}", False),
    ],
)
def test_a_comparison_with_neighbours_alone_drifts(more, drifts):
    assert bool(suite(more).drifting) == drifts
