"""Explains why there is no result: in sentences for people, as a problem document for scripts."""

from deltareg.errors import DeltaregError, Refused, Unavailable
from deltareg.wire import describe_problem
from deltareg_cli.exits import exit_status
from deltareg_cli.terminal.drawing import DrawingSurface, draw
from deltareg_cli.terminal.wording import clean, count
from deltareg_cli.views.problems import problem_lines

MOST_PROBLEMS = 20
NO_SERVER_FIX = "start one here with `deltareg up`, or name another with --server URL"


def for_people(error: DeltaregError, surface: DrawingSurface) -> str:
    """Format an error for people: what is wrong, what to do, where to read on."""
    head = surface.paint("error:", "bad")
    lines = [f"{head} {clean(error.message)}"]
    if len(error.problems) > 1:
        what = "problem" if isinstance(error, Refused) else "unmet rule"
        lines = [f"{head} refused: {count(len(error.problems), what)}"]
        lines.append(draw([problem_lines(error.problems[:MOST_PROBLEMS])], surface).rstrip())
        if len(error.problems) > MOST_PROBLEMS:
            lines.append(f"  and {len(error.problems) - MOST_PROBLEMS} more")
    elif fix_of(error):
        lines.append(f"{surface.paint('fix:', 'good')}   {clean(fix_of(error))}")
    code = error.problem_code if isinstance(error, Refused) else error.code
    lines.append(surface.paint(f"see:   deltareg explain {clean(code)}", "dim"))
    return "".join(f"{line}\n" for line in lines)


def for_scripts(error: DeltaregError, *, request_id: str = "") -> dict[str, object]:
    """Return the RFC 9457 document of an error, with the exit status beside HTTP's."""
    document = describe_problem(error, request_id=request_id)
    return {**document.model_dump(), "fix": fix_of(error), "exit_status": int(exit_status(error))}


def fix_of(error: DeltaregError) -> str:
    """Return what to do about an error; where no server answers and nothing is said, how to start one."""
    if not error.fix and type(error) is Unavailable:
        return NO_SERVER_FIX
    return error.fix
