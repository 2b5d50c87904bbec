"""A backtest as people read it: what passes first, and what rests on golden outputs alone."""

import pytest

from deltareg_cli.terminal.blocks import SentencesBlock
from deltareg_cli.views.backtests import backtest_answer, is_noticed, sort_faults


def version(name="me/chat:v2", verdict="pass"):
    return {"name": name, "is_fault": False, "verdict": verdict, "caught_by": [], "measures": []}


def fault(name, *caught_by, loses=0.2, **more):
    verdict = "fail" if caught_by else "pass"
    measures = [{"check": "kept", "value": 2.0, "loses": loses, "is_share": True}]
    row = {"name": name, "is_fault": True, "about": "It broke.", "verdict": verdict, "caught_by": list(caught_by)}
    return {**row, "measures": measures, **more}


def harm(value, *, is_material):
    return {"on": "in_domain", "value": value, "is_share": True, "is_material": is_material, "steps": 8}


def document(*rows, has_golden=False):
    facts = {"line": "me/chat", "suite": "mine", "subject": "me/chat:v2", "base": "b", "seed": 0, "ended": "done"}
    return {**facts, "device": "cpu", "left_out": [], "has_golden": has_golden, "items": list(rows)}


ROWS = (
    version(),
    fault("layers-swapped", "golden", "kept"),
    fault("scaled-down", "golden"),
    fault("wrong-dtype", loses=0.001),
    fault("module-type-zero", is_seen_by_golden=True),
    fault("drift", harm=harm(0.13, is_material=True)),
    fault("label-noise", harm=harm(0.01, is_material=False)),
    fault("other-classes", verdict="n/a", why="there is nothing of the kind in the delta"),
)


def lines(result):
    return [row.text for block in result.blocks if isinstance(block, SentencesBlock) for row in block.rows]


def test_the_first_line_says_what_is_stopped_and_what_rests_on_golden_alone():
    shown = lines(backtest_answer(document(*ROWS)))

    assert shown[0] == ("mine stops 2 of 5 faults in me/chat:v2; 1 of them rests on golden outputs alone")
    assert shown[1] == "drift: more samples, or a smaller margin"
    assert "scaled-down, module-type-zero" in shown[2]
    assert "too weak to matter: label-noise" in shown[3]
    assert "1 does not apply" in shown[3]
    assert len(shown) <= 8


def test_the_document_sorts_every_fault():
    found = backtest_answer(document(*ROWS)).document

    assert found["caught"] == 2
    assert found["golden_alone"] == ["scaled-down", "module-type-zero"]
    assert found["missed_and_costly"] == ["module-type-zero", "drift"]
    assert found["missed"] == ["module-type-zero", "drift", "wrong-dtype"]
    assert found["too_weak"] == ["label-noise"]


def test_all_lists_each_delta_with_what_a_training_cost():
    told = backtest_answer(document(*ROWS), has_all=True)

    assert "13.0 %" in str(told.blocks)
    assert "13.0 %" not in str(backtest_answer(document(*ROWS)).blocks)


@pytest.mark.parametrize(
    ("row", "is_good"),
    [
        (fault("a", "kept"), True),
        (fault("a", loses=0.001), True),
        (fault("a", harm=harm(0.01, is_material=False)), True),
        (fault("a", harm=harm(0.2, is_material=True)), False),
        (fault("a", is_seen_by_golden=True), False),
        (version("me/chat:v1", "fail"), False),
    ],
)
def test_what_counts_as_noticed(row, is_good):
    assert is_noticed(document(version(), row)) is is_good


def test_a_fault_that_a_required_check_could_not_judge_is_stopped():
    row = fault("a") | {"verdict": "inconclusive"}

    assert len(sort_faults([version(), row]).stopped) == 1
