"""What a fault costs, measured by torch and the libraries alone: is it material?

Both the broken delta and its healthy original are loaded by the library that wrote them, and rated
on samples that neither training nor a suite has seen. A fault is material where it costs more than
a bar, which is what two healthy trainings hardly differ by. Nothing of the registry takes part.
"""

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file

from tests.planted.more.shop import CONFIG, weights_of
from tests.planted.more.subject import Domain, Subject
from tests.small_networks import quiet

_BATCH = 40
Sort = Literal["nats", "share"]
BARS: dict[Sort, tuple[float, float]] = {"nats": (0.10, 0.25), "share": (0.08, 0.15)}
"""How much of the tuned and of the general domain may be lost: in nats a token, or as a share.

Set by the tuning half's healthy deltas alone: more than any of them loses beside its other run."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a delta is, more is better.

    Attributes:
        tuned: On what it was tuned for.
        general: On the base's own domain; None where its head is for other classes.
    """

    tuned: float
    general: float | None


@dataclass(frozen=True, slots=True)
class Damage:
    """What a fault costs.

    Attributes:
        tuned: Lost on what the delta is for.
        general: Lost on the base's own domain.
        sort: What both are measured in.
        refusal: What the library says instead of loading it; empty where it loads.
    """

    tuned: float
    general: float
    sort: Sort
    refusal: str = ""

    @property
    def is_material(self) -> bool:
        """Whether either is more than its bar, or the library loads it not at all."""
        most = BARS[self.sort]
        return bool(self.refusal) or self.tuned > most[0] or self.general > most[1]

    def document(self) -> dict[str, object]:
        """Give it as JSON."""
        return asdict(self)


def quality(subject: Subject, base: Path, folder: Path) -> Quality:
    """Rate a delta that its library has loaded."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        network = _loaded(subject, base, folder).eval()
        general = None if subject.is_headless else _rate(subject, network, "general")
        return Quality(_rate(subject, network, "tuned"), general)


def damage(subject: Subject, healthy: Quality, broken: Quality) -> Damage:
    """Compare a broken delta with its healthy original; what is no number has lost all."""
    tuned = _lost(healthy.tuned, broken.tuned)
    general = _lost(healthy.general or 0.0, broken.general or 0.0)
    return Damage(tuned, general, subject.sort)


def unloadable(subject: Subject, why: str) -> Damage:
    """Say that the library does not load it."""
    return Damage(0.0, 0.0, subject.sort, refusal=why[:200])


def _lost(before: float, after: float) -> float:
    return before - after if np.isfinite(after) else 99.0


def _loaded(subject: Subject, base: Path, folder: Path) -> torch.nn.Module:
    network = subject.load(base)
    if (folder / CONFIG).exists():
        return PeftModel.from_pretrained(network, str(folder))
    if (folder / "config.json").exists():
        return subject.load(folder)
    found = network.load_state_dict(load_file(weights_of(folder)), strict=False)
    if found.unexpected_keys:
        raise KeyError(found.unexpected_keys[0])
    return network


def _rate(subject: Subject, network: torch.nn.Module, domain: Domain) -> float:
    """Give the mean over samples; retrieval is among those of one batch."""
    scores = []
    with torch.no_grad():
        for at in range(subject.measured // _BATCH):
            batch = subject.draw(domain, _BATCH, seed=800 + at, part="measure")
            scores.append(subject.score(network, batch).mean())
    return float(np.mean(scores))
