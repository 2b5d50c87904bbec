"""What a base of the second set is: how it comes to be, what is drawn for it, how it is measured.

One module for every base. Nothing in any of them asks the code that is tested for anything: quality
is what torch and the libraries compute, on samples that neither training nor a suite has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Domain = Literal["general", "tuned"]
Part = Literal["train", "suite", "measure"]
"""Samples of one part are in no other: what trains, what a suite asks, what damage is told by."""
Examples = dict[str, torch.Tensor]
Scores = NDArray[np.float64]


class Draw(Protocol):
    """Gives examples with their labels."""

    def __call__(self, domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
        """Draw so many of a domain, by a seed, from a part."""
        ...


class Held(Protocol):
    """Writes samples as people keep their data."""

    def __call__(self, count: int, folder: Path) -> Path:
        """Write so many of the tuned domain, of the part `suite`; gives the file or folder."""
        ...


class Probes(Protocol):
    """Gives samples as the file of a probe set."""

    def __call__(self, domain: Domain, count: int) -> bytes:
        """Write so many of a domain, of the part `suite`."""
        ...


@dataclass(frozen=True, slots=True)
class Training:
    """How a base is trained; one that comes from elsewhere has no steps.

    Attributes:
        steps: How many batches.
        rate: The learning rate.
        batch: How many examples a batch has.
        mixed: The share of the tuned domain in what it sees.
    """

    steps: int
    rate: float
    batch: int = 32
    mixed: float = 0.1


@dataclass(frozen=True, slots=True)
class Subject:
    """A base and what it is about.

    Attributes:
        name: The base's.
        modality: What it takes.
        about: Where it is from, for people.
        make: Gives the network before training.
        save: Writes it as its library does, with its tokenizer.
        load: Loads it as a publisher does who is about to tune it.
        training: How it is trained.
        draw: Gives examples.
        loss: What training brings down.
        score: Rates every example by torch alone, more is better: (n,).
        sort: Whether a score is the negative loss in nats a token, or right (1) and wrong (0).
        held: Writes samples as people keep their data; None where `suite init` takes no such data.
        probes: Gives samples as a suite's file, for a suite that is written by hand; else None.
        batch: How many examples a batch of tuning has.
        rehearsed: The share of the general domain in what its deltas are trained on.
        measured: On how many samples of each domain damage is told.
        is_headless: Whether the base has no head, and its deltas bring one.
        is_static: Whether no worker can run it, so that only stored values are judged.
        has_revision: Whether an earlier checkpoint of it is kept.
    """

    name: str
    modality: str
    about: str
    make: Callable[[], torch.nn.Module]
    save: Callable[[torch.nn.Module, Path], None]
    load: Callable[[Path], torch.nn.Module]
    training: Training
    draw: Draw
    loss: Callable[[torch.nn.Module, Examples], torch.Tensor]
    score: Callable[[torch.nn.Module, Examples], Scores]
    sort: Literal["nats", "share"]
    held: Held | None = None
    probes: Probes | None = None
    batch: int = 16
    rehearsed: float = 0.25
    measured: int = 400
    is_headless: bool = False
    is_static: bool = False

    @property
    def has_revision(self) -> bool:
        """Whether an earlier checkpoint of it is kept."""
        return self.training.steps > 0


def own_loss(network: torch.nn.Module, batch: Examples) -> torch.Tensor:
    """Take the loss that the network itself gives."""
    loss: torch.Tensor = network(**batch).loss
    return loss


def hits(network: torch.nn.Module, batch: Examples) -> Scores:
    """Say which examples get their class."""
    given = {name: value for name, value in batch.items() if name != "labels"}
    right = network(**given).logits.argmax(-1) == batch["labels"]
    return right.double().numpy()


def token_scores(logits: torch.Tensor, labels: torch.Tensor) -> Scores:
    """Give the mean log-likelihood of the labels of every row; -100 is no label."""
    logs = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=-100, reduction="none"
    )
    counts = (labels != -100).sum(1).clamp(min=1)
    return -(logs.sum(1) / counts).double().numpy()
