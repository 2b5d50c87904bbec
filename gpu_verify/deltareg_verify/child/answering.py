"""The child that answers a prompt, by a base alone and by its versions, one after another.

Neither the prompt nor what a template makes of it leaves the child except in its answers. What it
reports is data to the supervisor, like every child's report.
"""

from collections.abc import Mapping, Sequence
from typing import BinaryIO, Final

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.documents.json_values import is_count, is_object
from deltareg.wire.findings import AnswersFound
from deltareg.wire.findings import WrittenAnswer as Answered
from deltareg.wire.runs import Question
from deltareg.words import SideName
from deltareg_verify.child.prompts import ends_of, words_of
from deltareg_verify.child.side_answer import PromptedSide, say, silent
from deltareg_verify.child.side_networks import Make, VersionNetwork, find_on_networks, plain_engine, serve_sides
from deltareg_verify.child.sides import SidesAssignment
from deltareg_verify.engine.engine import DeltaEngine

_NO_TEXT: Final = "{} writes no text: nobody can ask it, and `deltareg diff A B --mode behavior` compares"
_UNNAMED: Final = "this base"
_REASONS_CHARACTERS = 1_900
_NO_HEAD: Final = "the base has no such head: the version brings it"
_NO_TEMPLATE: Final = "no chat template comes with {} or with what is asked of it: ask with the text as it stands"


def reply(assignment: SidesAssignment, out: BinaryIO) -> None:
    """Answer on every side and report the answers."""
    find_on_networks(assignment, out, _answers)


def _answers(assignment: SidesAssignment, base: BaseFolder, make: Make) -> AnswersFound:
    question = Question.model_validate(assignment.question)
    name = assignment.model_type or _UNNAMED
    if "_class_name" in base.view.config:  # of diffusers
        return AnswersFound(answers=[], why=_NO_TEXT.format(name))
    networks = serve_sides(assignment, base, make)
    voices: dict[SideName, PromptedSide | None] = {
        side: _voice(assignment, base, networks, side, make) for side in question.sides
    }
    askable = [one for one in voices.values() if one is not None and one.words is not None]
    is_without = not any(one.words and one.words.template for one in askable)
    if question.form == "chat" and askable and is_without:
        return AnswersFound(answers=[], why=_NO_TEMPLATE.format(name))
    answers = [silent(side, _NO_HEAD) if voice is None else say(voice, question) for side, voice in voices.items()]
    return _of_all(answers)


def _of_all(answers: list[Answered]) -> AnswersFound:
    """Give one common reason, where no side can answer."""
    reasons = dict.fromkeys(one.why for one in answers if one.why != _NO_HEAD)
    if all(reasons) and reasons:
        return AnswersFound(answers=[], why="; ".join(reasons)[:_REASONS_CHARACTERS])
    return AnswersFound(answers=answers)


def _voice(
    assignment: SidesAssignment, base: BaseFolder, served: Mapping[str, VersionNetwork], side: SideName, make: Make
) -> PromptedSide | None:
    """Return a side that can be asked; None for a base without the head that its versions have."""
    is_base = side == "base"
    engine = plain_engine(served, base, make) if is_base else served[side].engine
    if engine is None:
        return None
    tokenizer = engine.vocabulary()
    own = None if is_base else assignment.versions[side].delta
    words = None if tokenizer is None else words_of(tokenizer, base.path, own)
    return PromptedSide(
        side,
        assignment.model_type or _UNNAMED,
        engine,
        "base" if is_base else "attached",
        words,
        ends_of(base.path, words.tokenizer) if words is not None else frozenset(),
        _vectors(engine, () if is_base else served[side].account.effects),
    )


def _vectors(engine: DeltaEngine, effects: Sequence[Effect]) -> int:
    """Return for how many tokens a network has vectors; a version may add more."""
    config = engine.config.get("text_config", engine.config)
    size = config.get("vocab_size") if is_object(config) else None
    grown = [e.shape[0] for e in effects if isinstance(e, WeightUpdate) and e.shape]
    return max([size, *grown]) if is_count(size) else 0
