"""What two versions do on the general probe set of their base, as rows of a table."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from deltareg.wire.findings import Estimated, GeneralFigure, GeneralFound

GENERAL_TITLE: Final = "On general text"
_TIMES: Final = "\N{MULTIPLICATION SIGN}"
GENERAL_COLUMNS: Final = ("base", "a", "b", "change", "n")


def general_rows(found: "GeneralFound") -> list[tuple[str, list[str]]]:
    """Return a row for each figure: its name and the values of the columns."""
    return [(one.name, _cells(one)) for one in found.figures]


def _cells(one: "GeneralFigure") -> list[str]:
    change = "-" if one.change is None else f"{_TIMES}{_format_estimate(one.change)}"
    return [*map(_format_estimate, (one.base, one.a, one.b)), change, str(one.n or "-")]


def _format_estimate(found: "Estimated") -> str:
    if found.value is None:
        return "no number"
    if found.low is None or found.high is None:
        return f"{found.value:.4g}"
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"
