"""Runs that answer a prompt: a base and one or two of its versions continue it, side by side.

The prompt and its answers are only for whoever asked, and are stored for a day. They appear neither
in the row of the run nor in a log; the audit trail only records that somebody asked.
"""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import run_results
from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunResultRow, RunRow
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import InvalidInput
from deltareg.service.labels import PROMPTS, RUNS
from deltareg.service.ledger.references import named_beside
from deltareg.service.priority import NORMAL
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.kind import RunKind
from deltareg.wire.findings import AnswersFound, WrittenAnswer, plain_text
from deltareg.wire.runs import Question
from deltareg.words import SideName

WHAT: Final = "answer"
KEPT_S: Final = 86_400
_ATTEMPTS = 2  # somebody waits for it, and what broke twice breaks again


def queue_answer(
    conn: sa.Connection,
    caller: Caller,
    versions: Mapping[SideName, VersionRow],
    question: Question,
    *,
    about: SideName,
    run_id: str,
) -> None:
    """Queue a run that answers in the caller's transaction; nobody else joins it.

    Args:
        conn: The transaction.
        caller: Who asks.
        versions: The versions, by side.
        question: The question.
        about: The side whose version the run is about: its readers see that the run exists.
        run_id: The id of the run.
    """
    beside = {str(name): version for name, version in versions.items() if name != about}
    queries.enqueue(
        conn,
        run_id=run_id,
        what=WHAT,
        dedup_key=f"{WHAT}:{run_id}",
        version_id=versions[about].id,
        labels=_asks_for(question),
        request=named_beside(beside) | {"about": about},
        priority=NORMAL,
        max_attempts=_ATTEMPTS,
        created_by=caller.principal_id,
    )
    run_results.keep_asked(
        conn,
        run_id,
        asked=question.model_dump_json().encode(),
        for_us=KEPT_S * US_PER_S,
        other_id=next((version.id for version in beside.values()), None),
    )


def question_of(conn: sa.Connection, run: RunRow) -> Question | None:
    """Return the question of a run; None if it answers nothing, or has expired."""
    row = run_results.result_row(conn, run.id) if run.what == WHAT else None
    return None if row is None else Question.model_validate_json(row.asked)


def read_found(asked: RunResultRow, text: str) -> bytes:
    """Parse a worker's answers and return them as they are stored: plain text.

    Raises:
        InvalidInput: The text is no such document, or answers another question.
    """
    question = Question.model_validate_json(asked.asked)
    try:
        answers = AnswersFound.model_validate_json(text)
    except ValidationError as error:  # whose words would quote it
        raise InvalidInput("these are no answers") from error
    is_whole = [each.side for each in answers.answers] == question.sides
    if bool(answers.why) == is_whole or (answers.why and answers.answers):
        raise InvalidInput("these are not the answers that were asked for")
    if any(each.tokens > question.tokens for each in answers.answers):
        raise InvalidInput("an answer is longer than was asked for")
    plain = {"answers": [_plain(each) for each in answers.answers], "why": plain_text(answers.why)}
    return answers.model_copy(update=plain).model_dump_json().encode()


def _asks_for(question: Question) -> dict[str, str]:
    """Return which workers may answer: those of the release before treat a chat as plain text."""
    return {RUNS: WHAT} if question.form == "plain" else {RUNS: WHAT, PROMPTS: "chat"}


def _plain(found: WrittenAnswer) -> WrittenAnswer:
    texts = {name: plain_text(getattr(found, name)) for name in ("text", "given", "why")}
    classes = [each.model_copy(update={"name": plain_text(each.name)}) for each in found.classes]
    return found.model_copy(update={**texts, "classes": classes})


def _find_nothing(conn: sa.Connection, caller: Caller, base_id: int) -> None:
    """Queue nothing when a base is stored: whoever wants an answer asks again."""


def _leave(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    """Change nothing when a run is dead."""


KIND = RunKind(WHAT, on_base=_find_nothing, on_death=_leave)
