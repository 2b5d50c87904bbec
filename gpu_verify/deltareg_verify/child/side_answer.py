"""How one side answers a prompt: a continuation, an answer, or classes.

Where it cannot, it gives the reason: a template refuses, say, or the network makes vectors.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from deltareg.errors import InvalidInput
from deltareg.wire.findings import ClassShare, plain_text
from deltareg.wire.findings import WrittenAnswer as Answered
from deltareg.wire.runs import Question
from deltareg.words import PromptForm, SideName
from deltareg_verify.child.class_answer import classes_named, why_nothing
from deltareg_verify.child.prompts import EncodedPrompt, PromptTokenizer, give
from deltareg_verify.engine.continuing import GeneratedText, Inputs, strip_end
from deltareg_verify.engine.engine import DeltaEngine, State

_TEXT_CHARACTERS = 16_000
_REASON_CHARACTERS = 1_000
_CLASSIFIED_TOKENS = 512  # some have places for two more, and fail at them
_NO_DRAWING: Final = "{} writes by the loop of its library, which draws nothing: ask without a seed"
_FOREIGN: Final = "the tokenizer makes of it tokens that the network has no vectors for"


@dataclass(frozen=True, slots=True)
class PromptedSide:
    """A side that answers.

    Attributes:
        side: Which.
        name: The name of its base, for people.
        engine: Its network.
        state: The state that it runs in.
        words: How it encodes texts; None without a tokenizer.
        ends: The tokens that end what it writes.
        vectors: For how many tokens it has vectors; 0 where that is unknown.
    """

    side: SideName
    name: str
    engine: DeltaEngine
    state: State
    words: PromptTokenizer | None
    ends: Collection[int]
    vectors: int = 0


@dataclass(frozen=True, slots=True)
class _Said:
    given: EncodedPrompt
    written: GeneratedText = field(default_factory=lambda: GeneratedText((), "", is_over=True))
    classes: Sequence[ClassShare] = ()


def say(voice: PromptedSide, question: Question) -> Answered:
    """Have a side answer; what prevents it becomes the answer's `why`."""
    voice.engine.tokenizer()  # loads the network, which is no part of what an answer takes
    began = time.perf_counter()
    try:
        reply = _answer_question(voice, question)
    except InvalidInput as error:
        return silent(voice.side, error.message)
    seconds = round(time.perf_counter() - began, 3)
    prompt, generated = reply.given, reply.written
    assert voice.words is not None, "without words nothing is said"
    return Answered(
        side=voice.side,
        text=plain_text(generated.text)[:_TEXT_CHARACTERS],
        tokens=len(generated.tokens),
        is_over=generated.is_over,
        seconds=seconds,
        template=prompt.template,
        given=prompt.decode_text(voice.words.tokenizer),
        given_tokens=len(prompt.ids),
        is_cut=prompt.is_cut,
        classes=list(reply.classes),
    )


def silent(side: SideName, why: str) -> Answered:
    """Return the answer of a side that cannot answer."""
    reason = plain_text(why)[:_REASON_CHARACTERS]
    return Answered(side=side, text="", tokens=0, is_over=True, seconds=0.0, why=reason)


def _answer_question(voice: PromptedSide, question: Question) -> _Said:
    words, engine = voice.words, voice.engine
    if words is None:
        raise InvalidInput(why_nothing(engine, voice.name, None))
    if engine.tokenizer() is not None:
        return _goes_on(voice, words, question)
    encoded = engine.encode([question.prompt]) or {}
    if "input_ids" not in encoded:
        raise InvalidInput(why_nothing(engine, voice.name, encoded))
    return _answers(voice, words, question, encoded) or _names(voice, words, question, encoded)


def _goes_on(voice: PromptedSide, words: PromptTokenizer, question: Question) -> _Said:
    """Continue the prompt, with a plain forward for each token."""
    tokenizer = words.tokenizer
    room = tokenizer.most - min(question.tokens, tokenizer.most // 2)
    prompt = give(words, question.prompt, question.form, room=max(room, 1), takes_end=True)
    _check_known(voice, prompt)
    count = min(question.tokens, max(tokenizer.most - len(prompt.ids), 1))
    if question.seed is None:
        tokens = voice.engine.follow(voice.state, prompt.ids, count, is_over=lambda added: added[-1] in voice.ends)
    else:
        tokens = _draw_tokens(voice, prompt.ids, count, seed=question.seed)
    return _Said(prompt, strip_end(tokens, tokenizer, voice.ends))


def _answers(voice: PromptedSide, words: PromptTokenizer, question: Question, encoded: Inputs) -> _Said | None:
    """Answer the prompt by the library's loop; None for a network without one."""
    form, tokenizer = question.form, words.tokenizer
    prompt = give(words, question.prompt, form, room=tokenizer.most, takes_end=False)
    inputs = _inputs(prompt, encoded)
    if question.seed is not None and voice.engine.write(voice.state, inputs, 1) is not None:
        raise InvalidInput(_NO_DRAWING.format(voice.name))
    count = min(question.tokens, max(tokenizer.most - 1, 1))  # it begins with a mark of its own
    rows = voice.engine.write(voice.state, inputs, count)
    if rows is None:
        return None
    (tokens,) = rows
    is_over = len(tokens) < count or tokens[-1] in voice.ends
    answer = tokens[:-1] if tokens and tokens[-1] in voice.ends else tokens
    return _Said(prompt, GeneratedText(tuple(answer), tokenizer.decode(answer), is_over))


def _names(voice: PromptedSide, words: PromptTokenizer, question: Question, encoded: Inputs) -> _Said:
    """Predict classes; a classifier gets the plain text, unless a chat is requested."""
    form: PromptForm = "chat" if question.form == "chat" else "plain"
    room = min(words.tokenizer.most, _CLASSIFIED_TOKENS)
    prompt = give(words, question.prompt, form, room=room, takes_end=False)
    classes = classes_named(voice.engine, voice.state, _inputs(prompt, encoded))
    if classes is None:
        raise InvalidInput(why_nothing(voice.engine, voice.name, encoded))
    return _Said(prompt, classes=classes)


def _inputs(given: EncodedPrompt, encoded: Inputs) -> Inputs:
    """Return the inputs, with whatever else the base's tokenizer adds to a text of that length."""
    inputs = given.inputs
    shape = inputs["input_ids"].shape
    beside = {name: value for name, value in encoded.items() if value.shape == shape}
    return {**beside, **inputs}


def _check_known(voice: PromptedSide, given: EncodedPrompt) -> None:
    if voice.vectors and given.ids and max(given.ids) >= voice.vectors:
        raise InvalidInput(_FOREIGN)


def _draw_tokens(voice: PromptedSide, ids: Sequence[int], count: int, *, seed: int) -> list[int]:
    """Draw one token after another from the network's distribution, at temperature 1."""
    rng = np.random.default_rng(seed)
    tokens: list[int] = []
    while ids and len(tokens) < count:
        row = np.asarray([[*ids, *tokens]], np.int64)
        inputs = {"input_ids": row, "attention_mask": np.ones_like(row)}
        logits = np.asarray(voice.engine.outputs_for(voice.state, inputs)["logits"], np.float64)
        scores = logits[0, -1]
        shares = np.exp(scores - scores.max())
        tokens.append(int(rng.choice(len(shares), p=shares / shares.sum())))
        if tokens[-1] in voice.ends:
            break
    return tokens
