"""The filled registry that a benchmark asks: one that is there, or one that it fills itself."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import page
from tests.scale.filled import DATABASES, empty_database, fill, live_template
from tests.scale.plan import FillPlan


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which registries, of which size, and where the table goes."""
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--database", choices=DATABASES, action="append", help="one of both")
    parser.add_argument(
        "--registry",
        nargs=2,
        metavar=("URL", "FOLDER"),
        action="append",
        default=[],
        help="a filled one that is there; one for each database",
    )
    page.add_option(parser)


def asked_databases(options: argparse.Namespace) -> Sequence[str]:
    """Return which databases are asked for: those named, else those of the registries that are there, else both."""
    there = [kind for kind in DATABASES if _given(kind, options)]
    return options.database or there or DATABASES


def filled_registry(stack: ExitStack, kind: str, options: argparse.Namespace, place: Path) -> tuple[str, Path]:
    """Return the URL and the folder of the registry on a database; fill one in `place` where none was named."""
    given = _given(kind, options)
    if given:
        return given[0]
    url = stack.enter_context(empty_database(kind, place))
    fill(url, place, FillPlan(options.versions), live_template(url, place, tensors=8))
    return url, place


def _given(kind: str, options: argparse.Namespace) -> list[tuple[str, Path]]:
    return [(url, Path(folder)) for url, folder in options.registry if url.startswith(kind)]
