"""A playground: a base and its versions answer a prompt side by side, in a run on a worker."""

from deltareg.pages.asking import ViewRequest
from deltareg.pages.diff import number_of
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import FormAction, FormPlace, View
from deltareg.refs import Ref, parse_id
from deltareg.service.overview.choices import list_choices
from deltareg.service.runs import asking
from deltareg.service.runs.kinds.answer import KEPT_S
from deltareg.wire import Answer, VersionInfo, request_of
from deltareg.wire.bounds import PROMPT_MOST, TOKENS_MOST
from deltareg.wire.findings import AnswerCreate, AnswersInfo


class AskPage(Answer):
    """The form for a prompt to a line, with its limits; `a` and `b` are the chosen versions."""

    line: str
    versions: list[VersionInfo]
    a: int | None
    b: int | None
    prompt_most: int = PROMPT_MOST
    tokens_most: int = TOKENS_MOST
    open_most: int = asking.LIMIT.open
    hourly_most: int = asking.LIMIT.hourly
    kept_hours: int = KEPT_S // 3_600


class AnswersPage(Answer):
    """A prompt and its answers; `line` is the line of the first version."""

    line: str
    found: AnswersInfo


def _form(ask: ViewRequest) -> AskPage:
    a, b = number_of(ask.text("a")), number_of(ask.text("b"))
    versions = list(list_choices(ask.registry, ask.caller, ask.line, also=(a, b)))
    newest = versions[0].version if versions else None
    return AskPage(line=str(ask.line), versions=versions, a=a or newest, b=b)


def _act(ask: ViewRequest) -> str:
    numbers = [number_of(ask.form_text(name) or None) for name in ("a", "b")]
    refs = [str(Ref(ask.line, version=number)) for number in numbers if number]
    seed = ask.form_number("seed") if ask.form_text("seed") else None
    request = request_of(
        AnswerCreate,
        prompt=ask.form.get("prompt", ""),
        refs=refs,
        tokens=ask.form_number("tokens"),
        seed=seed,
        form=ask.form_text("form") or "auto",
    )
    return f"{ROOT}/answers/{asking.ask(ask.registry, ask.caller, request).id}"


def _answers(ask: ViewRequest) -> AnswersPage:
    answers = asking.show_answers(ask.registry, ask.caller, parse_id(ask.part("run"), "run"))
    return AnswersPage(line=str(Ref.parse(answers.names["a"]).line), found=answers)


_ASK = View("/deltas/{ns}/{name}/ask", _form, "ask.html.jinja", "Deltas")


def _place(ask: ViewRequest) -> FormPlace:
    return FormPlace(_ASK, {name: ask.form_text(name) for name in ("a", "b")})


PAGES = (
    _ASK,
    View("/answers/{run}", _answers, "answers.html.jinja", "Deltas"),
    FormAction("/deltas/{ns}/{name}/ask/act", _act, _place),
)
