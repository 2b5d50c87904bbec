"""The bases of the second set by name, how one is trained, and how anything is."""

from functools import cache
from pathlib import Path

import torch

from tests.planted.more.classes import digits_subject, topics_subject
from tests.planted.more.language import code_subject, docs_subject
from tests.planted.more.pairs import minilm_subject, shapes_subject
from tests.planted.more.sound import pitch_subject, speech_subject
from tests.planted.more.subject import Examples, Subject
from tests.planted.more.translation import numbers_subject

NAMES = ("llama", "code", "minilm", "topics", "numbers", "digits", "speech", "shapes", "crepe")
_MAKERS = (
    docs_subject,
    code_subject,
    minilm_subject,
    topics_subject,
    numbers_subject,
    digits_subject,
    speech_subject,
    shapes_subject,
    pitch_subject,
)
_EARLIER = 0.6
_SEED = 4100


@cache
def subjects(kept: Path) -> dict[str, Subject]:
    """Give all bases; their texts and tokenizers are kept in a folder."""
    return {name: make(kept) for name, make in zip(NAMES, _MAKERS, strict=True)}


def make_base(subject: Subject, path: Path, *, earlier: Path | None = None, share: float = 1.0) -> None:
    """Train a base for a share of its steps and save it; `earlier` is how it was at six tenths."""
    torch.manual_seed(_SEED)
    network = subject.make()
    training = subject.training
    steps = round(training.steps * share)
    stop = round(steps * _EARLIER)
    optimizer: torch.optim.Optimizer | None = None
    for step in range(steps):
        if step == stop and earlier is not None:
            subject.save(network.eval(), earlier)
        if optimizer is None:
            optimizer = torch.optim.AdamW(network.parameters(), lr=training.rate, weight_decay=0.0)
        left = 1 - step / steps
        optimizer.param_groups[0]["lr"] = training.rate * min(1.0, (step + 1) / 20) * left
        descend_once(subject, network.train(), optimizer, _mixture(subject, step))
    subject.save(network.eval(), path)


def descend_once(
    subject: Subject, network: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Examples
) -> float:
    """Take one step down and give the loss before it."""
    optimizer.zero_grad()
    loss = subject.loss(network, batch)
    loss.backward()
    wanted = optimizer.param_groups[0]["params"]
    torch.nn.utils.clip_grad_norm_(wanted, 1.0)
    optimizer.step()
    return float(loss.detach())


def _mixture(subject: Subject, step: int) -> Examples:
    training = subject.training
    few = round(training.batch * training.mixed)
    general = subject.draw("general", training.batch - few, seed=70_000 + step, part="train")
    if not few:
        return general
    tuned = subject.draw("tuned", few, seed=90_000 + step, part="train")
    return joined(general, tuned)


def joined(first: Examples, second: Examples) -> Examples:
    """Put two batches into one; shorter rows of tokens are padded."""
    return {name: torch.cat(_even(name, value, second[name])) for name, value in first.items()}


def _even(name: str, *values: torch.Tensor) -> list[torch.Tensor]:
    if values[0].dim() != 2 or values[0].dtype != torch.long:
        return list(values)
    longest = max(value.shape[1] for value in values)
    blank = -100 if name == "labels" else 0
    return [torch.nn.functional.pad(value, (0, longest - value.shape[1]), value=blank) for value in values]
