"""The frame of `deltareg`: lists the commands, runs one, and ends with the status of its result."""

import errno
import os
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from io import TextIOWrapper
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from deltareg import __version__
from deltareg.errors import DeltaregError, DiskFull, InvalidInput
from deltareg_cli.exits import ExitStatus, exit_status
from deltareg_cli.invocation import Invocation
from deltareg_cli.tree.command_tree import RootGroup


@click.group(cls=RootGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="deltareg", help="Show the version and stop.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Store, verify, promote and roll back fine-tuning deltas."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), color=ctx.color)


def main() -> NoReturn:
    """Run the process's command line and end the process."""
    # Threads of NumPy's OpenBLAS spin for 2^26 cycles after a product, on cores that hashing and
    # writing need; this lets them sleep. It is read when NumPy is imported, which commands do.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the locale cannot write is no failure
            stream.reconfigure(errors="backslashreplace")
    status = run(sys.argv[1:])
    if status == ExitStatus.INTERRUPTED:
        # A thread that is still sending would hold up an exit in order; nobody waits for it now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit status; raises nothing."""
    invocation = Invocation()
    try:
        with _trace(args):
            return _call(args, invocation)
    except (click.Abort, KeyboardInterrupt):
        return _report_interrupt(invocation)
    except BrokenPipeError:
        return _hung_up()
    except NoArgsIsHelpError as error:
        invocation.output.complain(f"{click.unstyle(error.format_message())}\n")
        return ExitStatus.INVALID
    except Exception as error:  # noqa: BLE001  # nothing above this can say what went wrong
        return _report_failure(error, args, invocation)
    finally:
        invocation.end()


@contextmanager
def _trace(args: Sequence[str]) -> Generator[None, None, None]:
    """Trace a command where the environment asks for it; what it sends and starts is part of its trace."""
    if not any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ):
        yield
        return
    from deltareg.host.causes import TRACEPARENT, current_cause
    from deltareg.host.traces import open_tracer

    tracer = open_tracer("deltareg")
    if tracer is None:
        yield
        return
    name = next((word for word in args if word.isalpha()), "")
    with (
        closing(tracer),
        tracer.begin(
            f"deltareg {name}".strip(), parent=current_cause().traceparent, kind="CLIENT", attributes={}
        ) as span,
    ):
        os.environ[TRACEPARENT] = span.traceparent
        yield


def _call(args: Sequence[str], invocation: Invocation) -> int:
    has_no_colour = bool(os.environ.get("NO_COLOR")) or "--no-color" in args
    result: object = cli.main(
        list(args), prog_name="deltareg", standalone_mode=False, obj=invocation, color=False if has_no_colour else None
    )
    return result if isinstance(result, int) else ExitStatus.DONE


def _report_interrupt(invocation: Invocation) -> ExitStatus:
    resume = "; the same command goes on where it stopped" if invocation.is_resumable else ""
    invocation.output.complain(f"interrupted{resume}\n")
    return ExitStatus.INTERRUPTED


def _hung_up() -> ExitStatus:
    """End quietly: the reader of the output has closed it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush must not fail
    return ExitStatus.DONE


def _report_failure(error: Exception, args: Sequence[str], invocation: Invocation) -> ExitStatus:
    import traceback  # what a line that goes well need not load

    from deltareg_cli.failures import for_people, for_scripts
    from deltareg_cli.terminal.output import to_json, with_schema

    ours = as_ours(error)
    output = invocation.output
    if invocation.globals.debug or exit_status(ours) is ExitStatus.INTERNAL:
        output.complain("".join(traceback.format_exception(error)))
    if output.is_for_scripts or asks_for_json(args):
        document = for_scripts(ours, request_id=invocation.globals.request_id)
        output.complain(to_json(with_schema(document)))
    else:
        output.complain(for_people(ours, output.surface(sys.stderr), has_all=invocation.globals.verbose > 0))
    return exit_status(ours)


def as_ours(error: Exception) -> DeltaregError:
    """Turn any exception into an error of the tree; an unforeseen one is reported as a bug."""
    match error:
        case DeltaregError():
            return error
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "deltareg"
            return InvalidInput(error.format_message(), fix=f"{path} --help")
        case click.ClickException():
            return InvalidInput(error.format_message())
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return DiskFull(f"the disk is full: {error.filename or error}", fix="make room, try again")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return InvalidInput(f"{where}{error.strerror or error}")
        case _:
            return DeltaregError(
                f"{type(error).__name__}: {error}", fix="this is a bug; please report it with the above"
            )


def asks_for_json(args: Sequence[str]) -> bool:
    """Return whether a line that could not be parsed asks for results that a program reads."""
    joined = " ".join(args)
    has_option = re.search(r"(?:^| )(?:--json|(?:-o ?|--output[ =])(?:jsonl?|yaml))(?: |$)", joined)
    return has_option is not None or os.environ.get("DELTAREG_OUTPUT", "table") != "table"


if __name__ == "__main__":
    main()
