"""Suites and their checks."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import moment, short

if TYPE_CHECKING:
    from deltareg.wire import SuiteCheck, SuiteInfo


def suite_table(suites: Sequence["SuiteInfo"], *, now: datetime) -> TableBlock:
    """Build the table of suites."""
    columns = [
        Column("suite"),
        Column("version"),
        Column("digest"),
        Column("checks", is_number=True),
        Column("pushed"),
        Column("about", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(one.name, "name"),
            _version(one),
            short(one.digest),
            str(len(one.checks)),
            _describe_push(one, now=now),
            one.about,
        ]
        for one in suites
    ]
    return TableBlock(columns, rows, if_empty="no suite yet: deltareg suite push FILE")


def suite_blocks(suite: "SuiteInfo", *, now: datetime) -> list[Block]:
    """Show a suite with its checks."""
    sets = ", ".join(f"{name} ({what})" for name, what in suite.sets.items())
    return [
        TitleBlock(suite.name, suite.about),
        FactsBlock(
            [
                ("version", _version(suite)),
                ("digest", suite.digest),
                ("pushed", _describe_push(suite, now=now)),
                ("seed", str(suite.seed)),
                ("dtype", "as the base is stored" if suite.dtype == "keep" else suite.dtype),
                ("probe sets", sets),
            ]
        ),
        TitleBlock("Checks"),
        _check_table(suite.checks),
    ]


def _check_table(checks: Sequence["SuiteCheck"]) -> TableBlock:
    columns = [
        Column("check"),
        Column("required"),
        Column("probes"),
        Column("must be", is_prose=True),
        Column("parameters", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            one.name if one.name == one.check else f"{one.name} ({one.check})",
            "yes" if one.required else Cell("no", "dim"),
            one.probes,
            _must_be(one),
            ", ".join(f"{name} {value}" for name, value in one.parameters.items()),
        ]
        for one in checks
    ]
    return TableBlock(columns, rows)


def _must_be(check: "SuiteCheck") -> str:
    """Describe what a check asks: `at least promoted -0.02, beside best of 5 too; 100 samples first`."""
    text = check.threshold
    if check.reference:
        text += f", beside {check.reference} too"
    if check.looks:
        most = check.looks.get("most", 0)
        text += f"; {check.looks.get('first', 0)} samples first, {most or 'all'} at most"
    return text


def _version(suite: "SuiteInfo") -> Text:
    if suite.is_built_in:
        return Cell("built in", "dim")
    return "not pushed" if suite.version is None else f"v{suite.version}"


def _describe_push(suite: "SuiteInfo", *, now: datetime) -> str:
    if suite.created_at is None:
        return ""
    return f"{moment(suite.created_at, now=now)} by {suite.created_by}"
