"""The child that answers a prompt: by a base alone and by its versions, one after another.

Each goes on from the text as it stands. What it says is data to the supervisor, like all that a
child says.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, Final

import numpy as np

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import open_folder
from deltareg.delta.kind import Account
from deltareg.identity.manifest import Manifest
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.wire.findings import AnswersFound, plain_text
from deltareg.wire.findings import Written as Answered
from deltareg.wire.runs import Question, SideName
from deltareg_verify import sandbox
from deltareg_verify.continuing import Written, answer
from deltareg_verify.engine import Engine, State
from deltareg_verify.report import Speaker
from deltareg_verify.served import account_served, as_served
from deltareg_verify.sides import Side, SidesAssignment
from deltareg_verify.torch_engine import (
    Room,
    TorchEngine,
    class_with_place,
    environment,
    prepare_device,
)

_TEXT_CHARACTERS = 16_000
_NO_TEXT: Final = (
    "{} writes no text: nobody can ask it, and `deltareg diff --mode behavior` compares"
)
_NO_DRAWING: Final = "{} writes by the loop of its library, which draws nothing: ask without a seed"
_NO_BASE: Final = "the base is not to be had"


def reply(assignment: SidesAssignment, out: BinaryIO) -> None:
    """Answer on every side and say what was written."""
    speaker = Speaker(out)
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = str(assignment.scratch)
    level = sandbox.enter(assignment.bounds())
    with speaker.giving_up():
        base = assignment.open_base()
        if base is None:
            speaker.give_up(_NO_BASE)
            return
        device = prepare_device(assignment.device, threads=assignment.threads)
        room = Room(device, assignment.memory_bytes)
        suite = built_in(DEFAULT_SUITE)
        make = partial(TorchEngine, suite=suite, device=device, room=room)
        question = Question.model_validate(assignment.question)
        found = _answers(assignment, base, question, make)
        speaker.found(found.model_dump())
        found_here = {**environment(device), **room.environment()}
        speaker.end(dtype="", sandbox=level, environment=found_here)


def _answers(
    assignment: SidesAssignment,
    base: BaseFolder,
    question: Question,
    make: Callable[..., TorchEngine],
) -> AnswersFound:
    name = assignment.model_type or "this base"
    if "_class_name" in base.view.config:  # of diffusers
        return AnswersFound(answers=[], why=_NO_TEXT.format(name))
    engines = _engines(assignment, base, make)
    answers: list[Answered] = []
    for side in question.sides:
        state: State = "base" if side == "base" else "attached"
        engine = next(iter(engines.values())) if side == "base" else engines[side]
        began = time.perf_counter()
        written = _written(engine, state, question)
        if written is None:
            is_drawn = question.seed is not None and engine.encode([""]) is not None
            why = _NO_DRAWING if is_drawn and _writes(engine, state) else _NO_TEXT
            return AnswersFound(answers=[], why=why.format(name))
        answers.append(_told(side, written, time.perf_counter() - began))
    return AnswersFound(answers=answers)


def _engines(
    assignment: SidesAssignment, base: BaseFolder, make: Callable[..., TorchEngine]
) -> dict[str, Engine]:
    """Give the engine of each version; the base is loaded once for all whose network it is."""
    found: dict[str, Engine] = {}
    for name, side in sorted(assignment.versions.items()):
        account = _account_of(side, base)
        served = as_served(base, account)
        first = next(iter(found.values()), None)
        found[name] = (
            first.beside(account.effects)
            if first is not None and served.view.config == first.config
            else make(served, account.effects)
        )
    return found


def _account_of(side: Side, base: BaseFolder) -> Account:
    manifest = Manifest.decode(side.manifest.read_bytes())
    folder = open_folder(side.delta, convention=str(manifest.config.get("convention", "")))
    return account_served(
        folder.files, folder.tensors, base.view, kind=manifest.kind, find_class=class_with_place
    )


def _written(engine: Engine, state: State, question: Question) -> Written | None:
    if question.seed is None:
        return answer(engine, state, question.prompt, question.tokens)
    return _drawn(engine, state, question.prompt, question.tokens, seed=question.seed)


def _writes(engine: Engine, state: State) -> bool:
    return answer(engine, state, "a", 1) is not None


def _drawn(engine: Engine, state: State, text: str, count: int, *, seed: int) -> Written | None:
    """Draw one token after another from what the network says, at temperature 1.

    None of a network that does not go on with texts, or without a tokenizer.
    """
    tokenizer = engine.tokenizer()
    if tokenizer is None:
        return None
    rng = np.random.default_rng(seed)
    ids = tokenizer.encode(text)[-max(tokenizer.most - count, 1) :]
    found: list[int] = []
    while ids and len(found) < count:
        row = np.asarray([[*ids, *found]], np.int64)
        given = {"input_ids": row, "attention_mask": np.ones_like(row)}
        logits = np.asarray(engine.outputs_for(state, given)["logits"], np.float64)[0, -1]
        shares = np.exp(logits - logits.max())
        found.append(int(rng.choice(len(shares), p=shares / shares.sum())))
        if found[-1] == tokenizer.end:
            return Written(tuple(found[:-1]), tokenizer.decode(found[:-1], special=True), True)  # noqa: FBT003  # a field of a value
    return Written(tuple(found), tokenizer.decode(found, special=True), False)  # noqa: FBT003


def _told(side: SideName, written: Written, seconds: float) -> Answered:
    return Answered(
        side=side, text=plain_text(written.text)[:_TEXT_CHARACTERS], tokens=len(written.tokens),
        is_over=written.is_over, seconds=round(seconds, 3),
    )  # fmt: skip
