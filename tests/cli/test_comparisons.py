"""The table of comparisons beside a verdict."""

from deltareg.wire import CheckResult, Comparison
from deltareg_cli.terminal.blocks import TableBlock, TitleBlock
from deltareg_cli.views.comparisons import comparison_blocks

COMPARED = Comparison(
    against="promoted",
    other="me/chat:v6",
    decision="undecided",
    low=0.85,
    high=0.91,
    confidence=0.95,
    margin=0.02,
    n=400,
    look=3,
    looks=3,
    most=400,
    family=2,
    needs=900,
)
CHECK = CheckResult(name="not_worse", value=0.88, threshold=0.88, baseline=0.9, verdict="warn", comparison=COMPARED)


def cells(row):
    return [getattr(cell, "text", cell) for cell in row]


def test_a_comparison_tells_estimate_interval_margin_samples_look_and_decision():
    title, table = comparison_blocks([CHECK, CheckResult(name="effect", verdict="pass")])

    assert isinstance(title, TitleBlock)
    assert isinstance(table, TableBlock)
    assert title.beside == "2 comparisons, Holm"
    (row,) = table.rows
    assert cells(row) == [
        "not_worse",
        "undecided",
        "0.88",
        "0.85 to 0.91 at 95 %",
        "0.88",
        "0.02",
        "400",
        "3 of 3",
        "me/chat:v6 (promoted); about 900 samples would decide it",
    ]


def test_each_version_that_it_was_compared_with_has_a_row():
    beside = COMPARED.model_copy(update={"against": "best", "other": "me/chat:v3", "decision": "met", "needs": 0})
    check = CHECK.model_copy(update={"beside": [beside]})

    _, table = comparison_blocks([check])

    assert isinstance(table, TableBlock)
    assert [cells(row)[1] for row in table.rows] == ["undecided", "not worse"]
    assert cells(table.rows[1])[-1] == "me/chat:v3 (best)"


def test_a_verdict_that_compares_nothing_has_no_table():
    assert comparison_blocks([CheckResult(name="effect", verdict="pass")]) == []
