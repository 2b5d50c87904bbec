"""`deltareg suite backtest`: what a suite would have caught."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from deltareg.errors import InvalidInput, NotFound
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, timeout_option
from deltareg_cli.runs.behavior import device_of
from deltareg_cli.runs.launch import ask_on, require
from deltareg_cli.terminal.wording import clean, count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import gpu_option
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.suites.suite import Suite

MOST_VERSIONS = 5


@command(
    "backtest",
    Example("before it is pushed", "deltareg suite backtest chat-suite/me-chat.yaml me/chat"),
    Example("one that the registry has, on three versions", "deltareg suite backtest reviews me/chat:v2..v4"),
    Example(
        "two faults, for a script to read",
        "deltareg suite backtest reviews me/chat --only scaled-down \\\n    --only layers-swapped --exit-code --json",
    ),
    see_also=("suite init", "suite push", "suite lint"),
)
@click.argument("suite", metavar="SUITE|FILE", help="A suite's YAML file, or its name.")
@click.argument(
    "line",
    metavar="NS/NAME[:VERSIONS]",
    help="The line; :v4 or @prod ends with that version, :v2..v4 and :v2,v4 list them.",
)
@option(
    "--base",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The base's folder. Default: where this machine has it, or it is fetched.",
)
@option(
    "--training",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Rows to train broken versions on, as the suite's files have them. Default: a third of the suite's.",
)
@option("--only", multiple=True, metavar="FAULT", help="Put in this fault only; may be repeated.")
@option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the faults.")
@option(
    "--versions",
    "most",
    type=click.IntRange(1, 50),
    default=MOST_VERSIONS,
    show_default=True,
    help="How many versions to run over, the newest ones, where none are listed.",
)
@timeout_option(default="10m", help="When to stop, whatever is left; what is done is shown.")
@option("--exit-code", is_flag=True, help="Exit status 10 if a fault is missed or a version fails.")
@option("--all", "has_all", is_flag=True, help="List every delta and what each check stops.")
@option("--faults", "is_list", is_flag=True, help="Tell each fault in a sentence as well.")
@gpu_option()
@click.pass_obj
def backtest(
    invocation: Invocation,
    suite: str,
    line: str,
    *,
    base: Path | None,
    only: tuple[str, ...],
    seed: int,
    most: int,
    timeout: float,
    exit_code: bool,
    has_all: bool,
    is_list: bool,
    training: Path | None,
    gpu: str,
) -> ExitStatus:
    """Try a suite on a line's versions and on faults put into one.

    Versions should pass: each is compared with the one before it, and one that fails is a false
    alarm. Then the newest is broken on purpose. Some faults are put into its files: layers swapped, a
    wrong alpha, values quantised badly. Others are trained: forgetting, wrong labels, a drift over
    five versions, half a training. Those learn from a third of the suite's rows and are judged on the
    rest. Each broken version is compared with the whole one as if it were to replace it, and should
    be stopped.

    A fault that does no harm that the samples show is not counted. The answer says which faults only
    golden outputs stop. All of it runs here; no verdict comes of it and nothing is sent. It takes the
    verify part. Ctrl-C ends it with what is done.
    """
    require("verify")
    device = device_of(gpu)
    document = _run_backtest(
        invocation,
        suite,
        line,
        base=base,
        most=most,
        options={
            "faults": list(only),
            "seed": seed,
            "seconds": timeout,
            "device": device,
            "training": None if training is None else training.absolute(),
        },
    )
    from deltareg_cli.views.backtests import backtest_answer, is_noticed

    invocation.output.show(backtest_answer(document, has_all=has_all, is_list=is_list))
    if document["ended"] == "interrupted":
        return ExitStatus.INTERRUPTED
    if document["ended"] != "done":
        invocation.output.note("it ran out of time: give it longer with --timeout")
        return ExitStatus.TIMEOUT
    return ExitStatus.DIFFERENT if exit_code and not is_noticed(document) else ExitStatus.DONE


def _run_backtest(
    invocation: Invocation, suite: str, text: str, *, base: Path | None, most: int, options: Mapping[str, object]
) -> Mapping[str, object]:
    history = invocation.client.suites.history
    parsed, files = _suite(invocation, suite)
    stretch = history.stretch(text, most=most)
    for why in stretch.left_out:
        invocation.output.note(clean(f"left out: {why}"))
    from deltareg.client.compare.line_history import write_trial

    with (
        tempfile.TemporaryDirectory(prefix="deltareg-backtest-") as folder,
        history.at_hand(stretch, base=base) as at_hand,
    ):
        request = {**at_hand, **write_trial(Path(folder), parsed, files), **options}
        invocation.output.note(
            f"{parsed.name} over {count(len(stretch.versions), 'version')} of {stretch.line}"
            f" and faults in {stretch.versions[-1].ref}"
        )
        document = ask_on(
            "backtest", json.dumps(request, default=str), on_progress=lambda step: invocation.output.note(_step(step))
        )
    return {"line": str(stretch.line), **document, "left_out": list(stretch.left_out)}


def _suite(invocation: Invocation, text: str) -> "tuple[Suite, Mapping[str, bytes]]":
    from deltareg.client.resources.suites import read_suite_file
    from deltareg.suites.suite import read_stored_suite

    path = Path(text)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return read_suite_file(path)
    try:
        shown = invocation.client.suites.show(text)
    except (InvalidInput, NotFound) as error:
        raise type(error)(
            f"{text[:80]!r} is neither a file nor a suite of the registry",
            fix="name a suite's YAML file, or one that `deltareg suite ls` lists",
        ) from error
    suite = read_stored_suite(shown.document.encode())
    return suite, invocation.client.suites.history.probes_of(suite)


def _step(step: Mapping[str, object]) -> str:
    caught = ", ".join(cast("list[str]", step["caught_by"]))
    word = {"n/a": f"does not apply: {clean(str(step.get('why', '')))}", "pass": "passes"}.get(str(step["verdict"]), "")
    outcome = word or f"stopped by {caught or 'what could not be shown'}"
    name = clean(str(step["name"]))
    return f"{step['done']:>3} of {step['of']}  {name}: {outcome} ({step['seconds']} s)"
