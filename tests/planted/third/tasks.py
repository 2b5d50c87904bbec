"""The three tasks of the third set: rows of each, in parts that share none, and how good an answer is.

`route` names a ticket's desk, `months` gives the number of a date's month: both are right or wrong, to
the last token and its end. `reports` are texts, by nats a token. Whoever is rated is run by torch.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tests.planted.more.subject import Part
from tests.planted.more.texts import part_of
from tests.planted.third.bases import IGNORED, Examples
from tests.planted.third.sentences import Row, Writer, month, report, ticket

WRITERS: dict[str, Writer] = {"route": ticket, "months": month, "reports": report}
IS_EXACT = {"route": True, "months": True, "reports": False}
_POOL = {"train": 3000, "suite": 900, "measure": 900}
_SEED = 31


@cache
def _known(task: str, part: Part) -> list[Row]:
    """Write rows until a part has enough; a row is of one part, by its own text."""
    chance = np.random.default_rng([_SEED, *task.encode()])
    found: dict[str, Row] = {}
    while len(found) < _POOL[part]:
        row = WRITERS[task](chance)
        text = row.asked or row.answer
        if part_of(text) == part:
            found[text] = row
    return list(found.values())


def draw(task: str, count: int, *, seed: int, part: Part) -> list[Row]:
    """Draw rows of a part, each once as far as there are so many."""
    known = _known(task, part)
    chosen = np.random.default_rng([seed, 17]).choice(len(known), count, replace=count > len(known))
    return [known[at] for at in chosen]


def held(task: str, count: int, folder: Path) -> Path:
    """Write rows that no training has seen as a line's owner keeps them."""
    lines = [json.dumps(_told(task, row), ensure_ascii=False) for row in draw(task, count, seed=5, part="suite")]
    path = folder / f"{task}.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def rate(network: torch.nn.Module, batch: Examples, *, is_exact: bool) -> float:
    """Rate answers, more is better: the share that is right to its end, or minus nats a token.

    What is right at every place, given what is right before it, is what greedy decoding writes.
    """
    with torch.no_grad():
        logits = network(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    # A prompt has rows before them.
    logits = logits[:, -batch["input_ids"].shape[1] :][:, :-1].float()
    labels = batch["labels"][:, 1:]
    told = labels != IGNORED
    if is_exact:
        right = (logits.argmax(-1) == labels) | ~told
        return float(right.all(1).double().mean())
    logs = torch.nn.functional.cross_entropy(logits[told], labels[told])
    return -float(logs)


def _told(task: str, row: Row) -> dict[str, object]:
    match task:
        case "route":
            turns = (("user", row.asked), ("assistant", row.answer))
            return {"messages": [{"role": who, "content": what} for who, what in turns]}
        case "months":
            return {"prompt": row.asked, "completion": row.answer}
        case _:
            return {"text": row.answer}
