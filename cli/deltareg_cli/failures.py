"""Explains why there is no result: in sentences for people, as a problem document for scripts."""

from deltareg.errors import DeltaregError, Refused, Unavailable
from deltareg_cli.exits import exit_status
from deltareg_cli.terminal.blocks import Block, Cell, LinesBlock, Sentence, SentencesBlock
from deltareg_cli.terminal.drawing import DrawingSurface, draw
from deltareg_cli.terminal.wording import count
from deltareg_cli.views.problems import problem_lines

MOST_PROBLEMS = 2
MOST_LINES = 20
NO_SERVER_FIX = "start one here with `deltareg up`, or name another with --server URL"


def for_people(error: DeltaregError, surface: DrawingSurface, *, has_all: bool = False) -> str:
    """Format an error for people: what is wrong, what to do, where to read on.

    Args:
        error: The error.
        surface: Where it is drawn.
        has_all: Whether to show every problem, and not only the first few.
    """
    problems = error.problems if has_all else error.problems[:MOST_PROBLEMS]
    rows = [Sentence(error.message, Cell("error:", "bad"), most_lines=MOST_LINES)]
    listed: list[Block] = []
    if len(error.problems) > 1:
        what = "problem" if isinstance(error, Refused) else "unmet rule"
        rows = [Sentence(f"refused: {count(len(error.problems), what)}", Cell("error:", "bad"))]
        listed += problem_lines(problems)
        if len(error.problems) > len(problems):
            listed.append(LinesBlock([f"  and {len(error.problems) - len(problems)} more: the same with -v"]))
    elif fix_of(error):
        rows.append(Sentence(fix_of(error), Cell("fix:", "good"), most_lines=MOST_LINES))
    code = error.problem_code if isinstance(error, Refused) else error.code
    see = Sentence(f"deltareg explain {code}", Cell("see:", "dim"))
    if listed:
        return draw([SentencesBlock(rows), *listed, SentencesBlock([see], gap=3)], surface)
    return draw([SentencesBlock([*rows, see])], surface)


def for_scripts(error: DeltaregError, *, request_id: str = "") -> dict[str, object]:
    """Return the RFC 9457 document of an error, with the exit status beside HTTP's."""
    from deltareg.wire import describe_problem  # messages take longer to load than all the rest here

    document = describe_problem(error, request_id=request_id)
    return {**document.model_dump(), "fix": fix_of(error), "exit_status": int(exit_status(error))}


def fix_of(error: DeltaregError) -> str:
    """Return what to do about an error; where no server answers and nothing is said, how to start one."""
    if not error.fix and type(error) is Unavailable:
        return NO_SERVER_FIX
    return error.fix
