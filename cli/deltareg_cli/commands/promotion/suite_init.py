"""`deltareg suite init`: a suite from somebody's own data."""

import json
import shlex
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click

from deltareg.documents.json_values import is_list
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import LineRef, parse_name
from deltareg.suites.drafting.rows import Task
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.runs.behavior import device_of
from deltareg_cli.runs.launch import ask, missing_of
from deltareg_cli.terminal.wording import clean, count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import gpu_option
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.drafting.draft_suite import CandidateRows, DraftRequest

_MOST_VERSIONS = 5


@command(
    "init",
    Example("from rows that no training has seen", "deltareg suite init me/chat --data held-out.jsonl"),
    Example(
        "that leaves out what training has seen", "deltareg suite init me/chat --data all.csv --training train.jsonl"
    ),
    Example("that splits the data first", "deltareg suite init me/chat --data all.jsonl --rest train.jsonl"),
    Example(
        "pictures in a folder for each class, losses of 3 points",
        "deltareg suite init me/birds --data birds/ --base ./vit --margin 0.03",
    ),
    see_also=("suite lint", "suite backtest", "suite push"),
)
@click.argument("line", metavar="NS/NAME", help="The line that it is for.")
@option(
    "--data",
    required=True,
    metavar="FILE|DIR",
    type=click.Path(path_type=Path),
    help="Rows: .jsonl, .csv, .tsv, .txt, .parquet, or a folder of files or images.",
)
@option("--task", type=click.Choice(get_args(Task)), help="What the data is for. Default: as it shows.")
@option(
    "--training",
    metavar="FILE|DIR",
    type=click.Path(path_type=Path),
    help="What was trained on: rows that it holds are left out.",
)
@option(
    "--rest",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take half of the rows at most, and write those to train on here, as .jsonl.",
)
@option(
    "--general",
    metavar="FILE|DIR",
    type=click.Path(path_type=Path),
    help="Texts that must not be forgotten. Default: many languages and code.",
)
@option("--base", metavar="NAME|FOLDER", help="The base. Default: that of the line's newest version.")
@option(
    "--power",
    type=click.FloatRange(0.5, 0.99),
    default=0.8,
    show_default=True,
    section="Size",
    help="How often a version that lost nothing is to pass.",
)
@option(
    "--margin",
    type=click.FloatRange(0.001, 10),
    metavar="X",
    section="Size",
    help="What may be lost: 0.05 is 5 points, or 5 % of perplexity. Default: learned.",
)
@option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, section="Size", help="Of the choice of samples."
)
@option("--name", metavar="NAME", help="What the suite is called. Default: NS-NAME.")
@option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Where it is written. Default: NAME-suite.")
@option("--force", is_flag=True, help="Write over a suite that is there.")
@option("--no-run", is_flag=True, help="Run no network: margins are what is usual.")
@gpu_option()
@click.pass_obj
def init(
    invocation: Invocation,
    line: str,
    *,
    data: Path,
    task: Task | None,
    training: Path | None,
    rest: Path | None,
    general: Path | None,
    base: str | None,
    power: float,
    margin: float | None,
    seed: int,
    name: str | None,
    out: Path | None,
    force: bool,
    no_run: bool,
    gpu: str,
) -> None:
    """Write a suite from rows that training has not seen.

    The task shows in the columns: text and label, messages, query and positive, source and target,
    image and caption. Rows that are there twice are left out, and so are those that --training
    holds. Of the rest as many become samples as the power asks for.

    The versions that the line has are run on them, here, to learn how far healthy ones are apart;
    margins follow from that. What is written asks for three things: better than the base on your
    data, no language or domain forgotten that the base understands, and no worse than the version
    that is promoted. Comments say where each number is from, and what a broken version could still
    lose.

    The folder holds the YAML file and its probe sets. Nothing is sent.
    """
    from deltareg.client.drafting.draft_suite import DraftRequest
    from deltareg.suites.drafting.draft import SuiteAim
    from deltareg_cli.views.drafts import drafted_answer

    if name is not None:
        parse_name(name, "name")
    request_made = DraftRequest(
        LineRef.parse(line),
        data,
        task=task,
        training=training,
        rest=rest,
        general=general,
        name=name or "",
        out=out,
        aim=SuiteAim(power, margin),
        seed=seed,
        is_forced=force,
    )
    drafting = invocation.client.suites.drafting
    draft_rows = drafting.read(request_made)
    source = draft_rows.source
    invocation.output.note(clean(f"{count(source.rows, 'row')} for {source.task}: {source.by}"))
    notes: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="deltareg-init-") as scratch,
        _at_hand(invocation, request_made, base, notes, is_wanted=not no_run) as at_hand,
    ):
        texts = drafting.general(request_made, draft_rows)
        folder = Path(scratch)
        request = drafting.prepare(draft_rows, folder, general=texts)
        answer = _answer(invocation, draft_rows, {**at_hand, **request}, folder, notes, gpu=gpu)
        draft = drafting.write(
            request_made,
            draft_rows,
            folder,
            answer=answer,
            general=texts,
            notes=notes,
            command=_line(request_made, base),
        )
    invocation.output.show(drafted_answer(draft, notes))


@contextmanager
def _at_hand(
    invocation: Invocation, wanted: "DraftRequest", base: str | None, notes: list[str], *, is_wanted: bool
) -> Generator[dict[str, object], None, None]:
    """Bring the line's versions and its base to this machine, as far as they are available."""
    missing = missing_of("verify")
    if not is_wanted or missing:
        why = f"{', '.join(missing)} is not installed" if missing else "--no-run"
        notes.append(f"no network was run ({why}): margins are what is usual")
        yield {}
        return
    history = invocation.client.suites.history
    folder = Path(base) if base is not None and Path(base).is_dir() else None
    try:
        stretch = history.stretch(str(wanted.line), most=_MOST_VERSIONS)
    except NotFound:
        notes.append("the line has no version yet: margins are what is usual; init it again later")
        if base is None:
            yield {}
            return
        with history.base_at_hand(folder if folder is not None else base) as fields:
            yield fields
        return
    notes += [f"left out: {why}" for why in stretch.left_out]
    with history.at_hand(stretch, base=folder) as fields:
        yield fields


def _answer(
    invocation: Invocation,
    found: "CandidateRows",
    request: Mapping[str, object],
    folder: Path,
    notes: list[str],
    *,
    gpu: str,
) -> Mapping[str, object]:
    """Have a process prepare the samples and run the versions; empty where neither is needed."""
    needs_base = bool(found.rows[0].image)
    if "base" not in request:
        if needs_base:
            raise InvalidInput(
                "images are prepared by the base's own processor, and there is no base",
                fix="name it: --base NAME|FOLDER, with the verify part installed",
            )
        if found.source.task == "chat":
            notes.append("chats are written plainly, for there is no base to take a template from")
        return {}
    is_asked = "general" in cast("Mapping[str, object]", request["sets"])
    if not request["versions"] and not needs_base and not is_asked and found.source.task != "chat":
        return {}
    invocation.output.note(_doing(request["versions"]))
    path = folder / "request.json"
    words = {**request, "device": device_of(gpu)}
    path.write_text(json.dumps(words, default=str))
    answer = ask("pilot", str(path))
    if answer["has_template"] is False:
        notes.append("the base has no chat template: chats are written plainly")
    new_notes = answer["notes"]
    notes += new_notes if isinstance(new_notes, list) else []
    if answer["is_cut"]:
        notes.append("not all versions were run: it took too long")
    return answer


def _doing(versions: object) -> str:
    number = len(versions) if is_list(versions) else 0
    if not number:
        return "preparing the samples for the base"
    return f"running {count(number, 'version')} on the samples, to learn how far they are apart"


def _line(wanted: "DraftRequest", base: str | None) -> str:
    """Write the command line that makes this suite again."""
    words = ["deltareg", "suite", "init", str(wanted.line), "--data", str(wanted.data)]
    options = {
        "--task": wanted.task,
        "--training": wanted.training,
        "--rest": wanted.rest,
        "--general": wanted.general,
        "--base": base,
        "--margin": wanted.aim.margin,
        "--name": wanted.name or None,
        "--out": wanted.out,
    }
    for option_name, value in options.items():
        words += [] if value is None else [option_name, str(value)]
    words += ["--power", str(wanted.aim.power), "--seed", str(wanted.seed)]
    return clean(shlex.join(words))
