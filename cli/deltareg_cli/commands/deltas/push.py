"""`deltareg push`: bring a folder in as a new version."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput, NotFound, Unavailable, WaitTimeout
from deltareg.words import CONVENTIONS
from deltareg_cli.commands.deltas.lint import lint_answer
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import DurationParam, message_option, option, parse_labels
from deltareg_cli.runs.waiting import run_status, wait_for
from deltareg_cli.terminal.wording import clean, count, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import compression_option, concurrency_option, dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.pushes import PushedDetails, push_answer, show_several, told_of_push
from deltareg_cli.views.runs import explain_unserved

if TYPE_CHECKING:
    from deltareg.signing.making import SigningCredentials
    from deltareg.wire import ProofState, VersionInfo

ORDER = 30

_PROOF_S = 30.0

RECORD, VERIFICATION, SIGNATURE = "For the record", "Verification", "Signature"


@command(
    "push",
    Example("a LoRA adapter", "deltareg push ./adapter me/chat --base llama-3.1-8b"),
    Example(
        "with a message, and wait for the verdict",
        'deltareg push ./adapter me/chat --base llama-3.1-8b -m "epoch 3" --wait',
    ),
    Example(
        "made from a version that is there already",
        "deltareg push ./run7 me/chat --base llama-3.1-8b --parent me/chat:v6",
    ),
    Example("a LoRA on a fine-tune that is a version itself", "deltareg push ./adapter me/chat --base me/sft:v3"),
    Example(
        "smallest in the store, for what is pulled rarely",
        "deltareg push ./run7 me/chat --base llama-3.1-8b --compression max",
    ),
    Example("look first, send nothing", "deltareg push ./adapter me/chat --base llama-3.1-8b --dry-run"),
    Example("the adapters of a sweep, a line for each", "deltareg push ./sweep/* me/ --base llama-3.1-8b"),
    see_also=("lint", "verify", "promote", "help references"),
    is_resumable=True,
)
@click.argument(
    "paths",
    metavar="PATH...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to push; of several each becomes a version, in this order.",
)
@click.argument(
    "line",
    metavar="NS/NAME",
    help="The line that gets the new version; NS/ alone gives each folder a line named like it.",
)
@option(
    "--base",
    metavar="NAME|PATH|REF",
    help="The base that it was made against: a base, a folder, a version such as ns/name:v3, or a "
    "model in the Hugging Face cache. Without it, the one that its own files name: by its name here, "
    "an id on the hub that is recorded, or where it lies.",
)
@option(
    "--trained-on",
    metavar="NAME",
    help="The base that it was trained on, where its own files name another one. The version keeps what they say.",
)
@option("--kind", default="auto", show_default=True, help="Its kind, if it must be this one.")
@option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    help="What bias-only and sparse values are: new values, or differences.",
)
@dry_run("Look at the folder as lint does and send nothing.")
@message_option(section=RECORD)
@option("--semver", metavar="1.4.0", section=RECORD, help="A label; it is never moved.")
@option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    callback=parse_labels,
    section=RECORD,
    help="A label of your own, which may change later; may be repeated.",
)
@option(
    "--parent",
    "parents",
    multiple=True,
    metavar="REF",
    section=RECORD,
    help="A version that this one was made from; may be repeated.",
)
@option(
    "--mlflow-run",
    metavar="RUN",
    section=RECORD,
    help="The run of MLflow that made it: its id, page, metrics and params become labels.",
)
@option(
    "--verify",
    "suite",
    bare="smoke",
    metavar="[=SUITE]",
    section=VERIFICATION,
    help="Queue this suite as well; smoke is queued by every push.",
)
@option(
    "--golden",
    metavar="FILE",
    type=click.Path(path_type=Path),
    section=VERIFICATION,
    help="Outputs of your own for verification to find again: a safetensors file, or one that was "
    "recorded. Without it, those that were recorded into the folder.",
)
@option("--no-golden", is_flag=True, section=VERIFICATION, help="Push none, and record none.")
@option("--wait", is_flag=True, section=VERIFICATION, help="Wait for the verdict, and the proof.")
@option(
    "--timeout",
    type=DurationParam(),
    default="30m",
    show_default=True,
    section=VERIFICATION,
    help="How long to wait; the run goes on after that.",
)
@option(
    "--sign",
    metavar="KEY|sigstore",
    section=SIGNATURE,
    help="Sign the files with this private key, or, without a key, with a Sigstore.",
)
@option(
    "--certificate",
    metavar="FILE",
    type=click.Path(path_type=Path),
    section=SIGNATURE,
    help="The certificate of that key.",
)
@option(
    "--certificate-chain",
    "chain",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    section=SIGNATURE,
    help="The certificates above it, up to the authority's own; may be repeated.",
)
@option(
    "--sigstore-trust",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="DELTAREG_SIGSTORE_TRUST",
    section=SIGNATURE,
    help="The configuration of the Sigstore; without it, the public one.",
)
@concurrency_option()
@compression_option()
@option("--idempotency-key", metavar="KEY", help="Two pushes with the same key make one version.")
@click.pass_obj
def push(
    invocation: Invocation,
    paths: tuple[Path, ...],
    line: str,
    *,
    base: str | None,
    trained_on: str | None,
    kind: str,
    convention: str | None,
    message: str,
    semver: str | None,
    labels: dict[str, str],
    parents: tuple[str, ...],
    mlflow_run: str | None,
    suite: str | None,
    golden: Path | None,
    no_golden: bool,
    wait: bool,
    timeout: float,
    sign: str | None,
    certificate: Path | None,
    chain: tuple[Path, ...],
    sigstore_trust: Path | None,
    idempotency_key: str | None,
) -> ExitStatus:
    """Push a fine-tuned folder as a new version of a line.

    The folder is read as lint reads it: its kind is recognised, every tensor is accounted for
    against the base, and what cannot be explained is refused by name, with nothing kept. Files of
    the trainer (optimizer, scheduler, logs) are left out, and listed.

    A version can be a base, unless it can only be attached. The first push onto it folds it into
    its own base and stores the result, so that it has the same bits for everybody. A stack has at
    most four versions.

    For a base that is a variant, its weights packed in few bits, the folder is checked against its
    root, and the version is one of the root; it remembers the variant that it was trained on.

    Only bytes that the registry does not have are sent. The same folder pushed twice is one
    version. A push that was interrupted goes on when the same command is given again.

    Where the delta's own files (its config, its card, what a trainer noted) name another registered
    base than --base, the push is refused, and both are named. --trained-on insists, and the version
    shows what its files say.

    Golden outputs are what a delta computed elsewhere. They are kept with the version, and a
    verification fails where base and delta do not give them again. What was recorded into the
    folder (deltareg golden) goes along, on the base that it was computed on. Where nothing was, the
    library that wrote the delta is asked on the way, if it is installed and the base is on this
    machine and has at most 3 GiB. What it computes is kept in the cache, so that the same push
    again is the same version; where that fails the push goes on without. The folder is only read. A
    safetensors file for --golden holds tensors inputs.NAME and outputs.NAME, as the network's
    forward names them.

    With --sign the files are signed as a pull writes them, before anything is sent, in a bundle of
    OpenSSF model-signing. The registry takes it only where it holds.

    Of several folders the base is looked up once. The first that is refused ends it, and those
    before it are versions: the same command again goes on with the rest.
    """
    client = invocation.client
    if no_golden and golden is not None:
        raise InvalidInput("--golden and --no-golden say two things", fix="leave one out")
    if len(paths) != 1 or line.endswith("/"):
        _check_several(
            {
                "--semver": semver,
                "--golden": golden,
                "--mlflow-run": mlflow_run,
                "--idempotency-key": idempotency_key,
                "--dry-run": invocation.globals.dry_run,
                "--verify": suite,
                "--wait": wait,
            }
        )
        from deltareg.client import use_cases  # few push several

        options = use_cases.push.PushOptions(
            trained_on=trained_on,
            kind=kind,
            convention=convention or "",
            parents=parents,
            message=message,
            labels=labels,
            golden=use_cases.golden_of_push.GoldenChoice(is_left_out=no_golden),
            sign=_signing(sign, certificate, chain, sigstore_trust),
        )
        pushed = client.versions.push_several(paths, line, base=base, options=options)
        show_several(invocation, paths, pushed)
        return ExitStatus.DONE
    (path,) = paths
    if invocation.globals.dry_run:
        base = base or trained_on or invocation.client.bases.named_in(path)
        lint_report = client.lint(path, base=base, convention=convention or "", trained_on=trained_on)
        invocation.output.show(lint_answer(lint_report, path))
        return ExitStatus.DONE if lint_report.is_accepted else ExitStatus.INVALID
    labels = _labels_of_run(invocation, mlflow_run) | labels
    report = client.push(
        path,
        line,
        base=base,
        trained_on=trained_on,
        kind=kind,
        convention=convention or "",
        parents=parents,
        message=message,
        semver=semver,
        labels=labels,
        idempotency_key=idempotency_key,
        golden=False if no_golden else golden,
        sign=_signing(sign, certificate, chain, sigstore_trust),
    )
    told_of_push(invocation, report)
    if report.base_uploaded_bytes is not None:
        note = f"is a base from now on: {size(report.base_uploaded_bytes)} sent for it"
        invocation.output.note(f"{clean(report.version.base.name)} {note}")
    run = client.verify(report.version.ref, suite=suite or "smoke") if suite or wait else None
    if run is not None and wait:
        run = wait_for(invocation, run, timeout_s=timeout)
    proof = _proof_now(invocation, report.version) if run is not None and wait else None
    waits = "" if run or report.version.verdict else _why_it_waits(invocation, report.version.ref)
    said = PushedDetails(semver, labels, message)
    invocation.output.show(push_answer(report, run, now=invocation.now, waits=waits, proof=proof, said=said))
    return run_status(run) if run is not None and wait else ExitStatus.DONE


def _check_several(options: Mapping[str, object]) -> None:
    """Refuse what is said of one version where several are pushed.

    Raises:
        InvalidInput: One of the options is given.
    """
    for name, value in options.items():
        if value:
            raise InvalidInput(f"{name} is of one version", fix="leave it out, or push the folders one by one")


def _labels_of_run(invocation: Invocation, run_id: str | None) -> dict[str, str]:
    """Return the labels that a run of MLflow brings; empty without a run."""
    if run_id is None:
        return {}
    from deltareg.integrations.mlflow_runs import read_run  # few name one

    run = read_run(run_id)
    if run.left_out:
        left = count(run.left_out, "metric or param", "metrics and params")
        invocation.output.note(f"{left} of the run are too long or too many for labels")
    return run.labels()


def _signing(
    sign: str | None, certificate: Path | None, chain: Sequence[Path], trust: Path | None
) -> "SigningCredentials | None":
    """Return what the files are to be signed with; None where they are not signed."""
    if sign is None and certificate is None and not chain:
        return None
    from deltareg.client.use_cases import signers  # brings what signs

    return signers.sign_with(sign or "", certificate, chain, trust)


def _why_it_waits(invocation: Invocation, ref: str) -> str:
    """Explain why no worker takes the queued verification; for scripts, return nothing."""
    if invocation.output.is_for_scripts or invocation.output.is_quiet:
        return ""
    try:
        return explain_unserved(invocation.client.runs.find(ref))
    except (NotFound, Unavailable):  # the push is done, whatever becomes of this
        return ""


def _proof_now(invocation: Invocation, version: "VersionInfo") -> "ProofState | None":
    """Wait a little for the proof, which comes before the verdict where a worker may make it."""
    runs = invocation.client.runs
    if version.proof is None:  # an older server
        return None
    with suppress(WaitTimeout, NotFound):
        state = runs.wait(runs.prove(version.ref), timeout_s=_PROOF_S).proof
        if state is not None:
            return state
    invocation.output.note(
        "its bytes are claimed still: a worker with a token of somebody else has to look;"
        f" then: deltareg prove {version.ref} --wait"
    )
    return "claimed"
