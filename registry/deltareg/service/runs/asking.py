"""Asking a base and its versions: queueing a prompt for a worker, and showing the answers.

Only whoever asked sees the prompt and the answers, for a day, as long as they may still read the
versions.
"""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import run_results
from deltareg.db.runs.rows import RunResultRow, ShownRunRow
from deltareg.db.session import read, with_retry
from deltareg.errors import Blocked, Forbidden, InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED, SOMEWHERE
from deltareg.service.clock import rfc3339_or_none
from deltareg.service.describe import ref_of
from deltareg.service.events import Action
from deltareg.service.ledger.references import references_of
from deltareg.service.quotas.holding import refuse_spent
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_version
from deltareg.service.runs import info
from deltareg.service.runs.kinds.answer import KEPT_S, WHAT, queue_answer
from deltareg.service.runs.limits import RunLimit, check_limit_of
from deltareg.service.runs.runs import describe_run, require_queueing
from deltareg.wire import RunInfo
from deltareg.wire.findings import AnswerCreate, AnswersFound, AnswersInfo, SideAnswer
from deltareg.wire.runs import Question
from deltareg.words import SideName

LIMIT: Final = RunLimit(open=3, hourly=60)
_SIDES: tuple[SideName, ...] = ("a", "b")


def ask(registry: Registry, caller: Caller, request: AnswerCreate, *, new_id: Callable[[], UUID] = uuid4) -> RunInfo:
    """Queue a run that answers a prompt; every call queues another one.

    The caller must be allowed to read all versions, and to ask for runs of one of them.

    Raises:
        NotFound: There is no such version, or the caller may not see it.
        Blocked: A version is deleted.
        InvalidInput: A version is named twice, or they are for different bases.
        QuotaExceeded: The caller has asked too often; the message says when they may ask again.
    """
    require_queueing(caller, on=SOMEWHERE)
    refs: dict[SideName, Ref] = dict(zip(_SIDES, map(Ref.parse, request.refs), strict=False))
    for ref in refs.values():
        caller.require(Right.READ, on=ref.line)

    def transaction(conn: sa.Connection) -> RunInfo:
        versions: dict[SideName, VersionRow] = {
            side: find_version(conn, caller, ref, bare="newest") for side, ref in refs.items()
        }
        about = _about(caller, refs)  # what is not there is not found before
        line = refs[about].line
        _check(list(versions.values()))
        run_id = str(new_id())
        question = Question(
            prompt=request.prompt.replace("\r\n", "\n"),
            tokens=request.tokens,
            seed=request.seed,
            sides=["base", *versions],
            form=request.form,
        )
        queue_answer(conn, caller, versions, question, about=about, run_id=run_id)
        refuse_spent(conn, namespace_scope(versions[about].namespace), caller.principal_id)
        check_limit_of(conn, caller, WHAT, LIMIT, beside=run_id)
        after = {"version": ref_of(versions[about]), "what": WHAT}
        caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=line, before=None, after=after)
        return describe_run(conn, caller, run_id)

    with explain_room(registry.engine):
        return with_retry(registry.engine, transaction)


def show_answers(registry: Registry, caller: Caller, run_id: str) -> AnswersInfo:
    """Show a prompt and its answers to whoever asked.

    Raises:
        NotFound: There is no such run, it is somebody else's, or it has expired.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        row = info.find_run(conn, caller, run_id)
        refs = _refs(row)
        for ref in refs.values():
            caller.require(Right.READ, on=caller.current_ref(Ref.parse(ref)).line)
        result = run_results.result_row(conn, run_id)
        if row.what != WHAT or row.created_by != caller.principal_id or result is None:
            raise NotFound(
                f"there are no answers of run {run_id[:40]}",
                fix=f"answers are kept for {KEPT_S // 3_600} hours, for who asked: deltareg ask",
            )
        run = info.describe_run(conn, row)
        versions = [find_version(conn, caller, Ref.parse(ref), bare="newest") for ref in refs.values()]
    if any(version.deleted_at is not None for version in versions):
        raise Blocked("a version that was asked is deleted", fix="ask another version")
    return _show_answers(run, result, {"base": "base", **refs})


def _show_answers(run: RunInfo, asked: RunResultRow, names: Mapping[SideName, str]) -> AnswersInfo:
    question = Question.model_validate_json(asked.asked)
    raw = asked.found
    answers = AnswersFound(answers=[]) if raw is None else AnswersFound.model_validate_json(raw)
    return AnswersInfo(
        run=run,
        prompt=question.prompt,
        tokens=question.tokens,
        seed=question.seed,
        form=question.form,
        names={side: names[side] for side in question.sides},
        why=answers.why,
        answers=[SideAnswer(**dict(each), name=names[each.side]) for each in answers.answers],
        ends_at=rfc3339_or_none(asked.ends_at),
    )


def _refs(row: ShownRunRow) -> dict[SideName, str]:
    """Return the references that were asked about, by side, in the order of the sides."""
    if row.what != WHAT:
        return {}
    refs = {side: one.ref for side, one in references_of(row.request).items()}
    refs[row.request["about"]] = ref_of(row)
    return {side: refs[side] for side in _SIDES if side in refs}


def _check(versions: list[VersionRow]) -> None:
    for version in versions:
        if version.deleted_at is not None:
            raise Blocked(f"{ref_of(version)} is deleted", fix="ask another version")
    if len({version.id for version in versions}) < len(versions):
        raise InvalidInput(f"{ref_of(versions[0])} is named twice", fix="name two versions, or one")
    if len({version.base_id for version in versions}) > 1:
        names = " and ".join(map(ref_of, versions))
        raise InvalidInput(f"{names} are for different bases", fix="ask them one after another")


def _about(caller: Caller, refs: Mapping[SideName, Ref]) -> SideName:
    """Return the first side for whose version the caller may ask for runs.

    Raises:
        Forbidden: The caller may ask for runs of none of them.
    """
    first, *others = refs
    for side in others:
        try:
            require_queueing(caller, on=refs[first].line)
        except Forbidden:
            first = side
    require_queueing(caller, on=refs[first].line)
    return first
