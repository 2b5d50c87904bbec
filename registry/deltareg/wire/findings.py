"""What workers find out for people, on the wire: how two versions differ, what they answer.

Nothing here is a verdict, and no gate uses it. A worker's result is one document in its report,
which it signs by its digest (`deltareg.wire.work`).
"""

import re
from typing import Annotated, Final, Self

from pydantic import Field, field_validator

from deltareg.wire.bounds import PROMPT_MOST, SIDES_MOST, TOKENS_MOST
from deltareg.wire.messages import Answer, Request, Text
from deltareg.wire.runs import RunInfo
from deltareg.words import PromptForm, SideName, TemplateOf

MODULES_MOST: Final = 4_000
"""Modules that a comparison tells of: 128 layers of 30."""
FOUND_MOST: Final = 900_000
"""Characters of the document of a report."""
GIVEN_MOST: Final = 12_000
"""Characters that are told of a prompt as a network was given it."""
CLASSES_MOST: Final = 20
_TEXT_MOST = 16_000
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")
_Number = Annotated[float, Field(allow_inf_nan=False)] | None
Name = Annotated[str, Field(max_length=300)]
Prompt = Annotated[str, Field(max_length=PROMPT_MOST)]
Tokens = Annotated[int, Field(ge=1, le=TOKENS_MOST)]
Seed = Annotated[int, Field(ge=0, lt=1 << 31)]
Row = tuple[Name, _Number, _Number, _Number, _Number, int | None, int | None, _Number, _Number, _Number, int]
"""A `ModuleDifference` without the names of its fields, in their order."""


class CompareCreate(Request):
    """Have a worker compare two versions of one base, or join the run that does.

    What was found out before is as good, unless it is wanted `again`.
    """

    a: Name
    b: Name
    again: bool = False


class ModuleDifference(Answer):
    """How two versions differ in what they do to one weight of the base.

    `relative_norm` is that of the difference by that of what `a` does, `cosine` that of the angle
    between both, `overlap` how much of the smaller column space lies in the other. Numbers are null
    where nobody could measure. Where one row stands for `count` weights of a layer, which experts
    have by the thousand, it is the one of them that differs most.
    """

    module: str
    relative_norm: float | None = None
    cosine: float | None = None
    norm_a: float | None = None
    norm_b: float | None = None
    rank_a: int | None = None
    rank_b: int | None = None
    effective_rank_a: float | None = None
    effective_rank_b: float | None = None
    overlap: float | None = None
    count: int = 1

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the row with its fields named."""
        return cls.model_validate(dict(zip(cls.model_fields, row, strict=True)))


class Estimated(Answer):
    """A figure with the 95 % interval around it; null where there is none, as of one text."""

    value: _Number
    low: _Number = None
    high: _Number = None


class GeneralFigure(Answer):
    """A figure on the general probes of the base: of the base, and of two versions of it.

    `change` is what `a` has to be multiplied with to get `b`, on the same `n` texts. A figure that
    is no number, as of a network that is destroyed, is null.
    """

    name: Name
    n: Annotated[int, Field(ge=0)]
    base: Estimated
    a: Estimated
    b: Estimated
    change: Estimated | None = None


class GeneralFound(Answer):
    """What two versions do on the general probes of their base; or a `note` why that is unknown."""

    figures: Annotated[list[GeneralFigure], Field(max_length=20)] = []
    note: Text = ""


class DifferencesFound(Request):
    """How two versions differ, as a worker writes it: modules that differ most come first.

    `left_out` counts the weights that are in no row; they differ less than all that are. `note`
    says what could not be measured. A worker of the release before does not send `general`.
    """

    modules: Annotated[list[Row], Field(max_length=MODULES_MOST)]
    left_out: Annotated[int, Field(ge=0)] = 0
    note: Text = ""
    general: GeneralFound | None = None


class VersionDifferences(Answer):
    """Two versions as a worker compared them; `run` is null as long as nobody has asked.

    `is_known` says that a worker has found it out: `run` is that one's run, else the newest.
    `waits` is the run that is under way. `found_at` is when it was found out. `general` is what
    both do on the general probes of the base; null where the worker was of a release that does
    not measure it.
    """

    a: str
    b: str
    is_known: bool
    run: RunInfo | None = None
    waits: RunInfo | None = None
    found_at: str | None = None
    modules: list[ModuleDifference] = []
    left_out: int = 0
    note: str = ""
    general: GeneralFound | None = None


class AnswerCreate(Request):
    """Have a worker answer a prompt by a base and one or two versions of it, side by side.

    Each goes on greedily, or draws its tokens with a `seed`, by up to so many `tokens`. In the
    `form` of a `chat` the prompt is what a user says, put into the chat template of the version,
    or else of the base; `plain` is the text as it stands, and `auto` a chat where there is a
    template.
    """

    prompt: Prompt
    refs: Annotated[list[Name], Field(min_length=1, max_length=SIDES_MOST - 1)]
    tokens: Tokens = 64
    seed: Seed | None = None
    form: PromptForm = "auto"

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str) -> str:
        text = prompt.replace("\r\n", "\n")
        if _CONTROL.search(text):
            raise ValueError("a prompt holds text, lines and tabs, and no other control characters")
        if not text.strip():
            raise ValueError("it is empty, and a prompt says something")
        return text


class ClassShare(Answer):
    """A class that a classifier names, and how likely it is to it; of a regression the value."""

    name: Annotated[str, Field(max_length=200)]
    share: Annotated[float, Field(allow_inf_nan=False)]


class WrittenAnswer(Request):
    """What one side wrote: `tokens` tokens in `seconds` seconds, and whether it came to its end.

    A classifier names `classes` instead, the likeliest first. `template` says whose chat template
    the prompt was put into, that of the `version` or of the `base`; it is empty if the prompt was
    used as it stands. `given` is the prompt as the network received it, marks included,
    `given_tokens` long; `is_cut` if it was cut to what the network takes. `why` is the reason why
    this side has no answer.
    """

    side: SideName
    text: Annotated[str, Field(max_length=_TEXT_MOST)]
    tokens: Annotated[int, Field(ge=0, le=TOKENS_MOST)]
    is_over: bool
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    template: TemplateOf = ""
    given: Annotated[str, Field(max_length=GIVEN_MOST)] = ""
    given_tokens: Annotated[int, Field(ge=0)] = 0
    is_cut: bool = False
    classes: Annotated[list[ClassShare], Field(max_length=CLASSES_MOST)] = []
    why: Text = ""


class AnswersFound(Request):
    """What each side wrote, as a worker reports it; or the reason `why` nothing can be."""

    answers: Annotated[list[WrittenAnswer], Field(max_length=SIDES_MOST)]
    why: Text = ""


class SideAnswer(Answer):
    """What a base or a version wrote, or which classes it names: `name` is how people call it.

    The other fields are those of `Written`.
    """

    side: SideName
    name: str
    text: str
    tokens: int
    is_over: bool
    seconds: float
    template: TemplateOf = ""
    given: str = ""
    given_tokens: int = 0
    is_cut: bool = False
    classes: list[ClassShare] = []
    why: str = ""


class AnswersInfo(Answer):
    """A prompt and what was answered, for who asked; nothing of it is kept after `ends_at`.

    `form` is what was asked for, and each answer says what its side was given. `why` says why
    nothing could be answered.
    """

    run: RunInfo
    prompt: str
    tokens: int
    seed: int | None = None
    form: PromptForm = "plain"
    names: dict[SideName, str]
    answers: list[SideAnswer] = []
    why: str = ""
    ends_at: str | None = None


class FoundReport(Request):
    """What came of a run that finds something out: a document by the run's kind; signed."""

    fence: int
    found: Annotated[str, Field(max_length=FOUND_MOST)]
    sandbox: Text = ""
    envelope: Annotated[str, Field(max_length=1 << 16)] = ""


def plain_text(text: str) -> str:
    """Replace what is not text by a mark: control characters except lines and tabs, surrogates."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", whole.replace("\r\n", "\n"))
