"""Model cards on the wire."""

from deltareg.wire.messages import Answer


class CardResult(Answer):
    """A result that a card claims."""

    name: str
    value: float
    dataset: str = ""
    task: str = ""


class CardInfo(Answer):
    """What the README.md of a version says, as whoever wrote it claims; `text` where asked for.

    `problems` says what of it could not be read.
    """

    ref: str
    title: str
    summary: str
    license: str
    task: str
    library: str
    languages: list[str]
    tags: list[str]
    datasets: list[str]
    base_models: list[str]
    metrics: list[CardResult]
    problems: list[str]
    text: str = ""
