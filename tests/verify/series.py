"""Makes the rows of docs/examples/lm-eval: number series with four ways to go on, from a seed.

python -m tests.verify.series
"""

import json
import random
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "lm-eval"
FILES = {"series.jsonl": 60, "series-shots.jsonl": 12}
SEED = 20260114


def contents():
    """Give the content of each file."""
    draw = random.Random(SEED)
    return {name: "".join(json.dumps(row(draw)) + "\n" for _ in range(count)) for name, count in FILES.items()}


def row(draw):
    """Give one series, four numbers that may follow, and which of them does."""
    start, step = draw.randint(1, 40), draw.choice((2, 3, 4, 5, 10))
    right = start + 4 * step
    choices = [right, *draw.sample([right + off for off in (-3, -2, -1, 1, 2, 3, 7)], 3)]
    draw.shuffle(choices)
    shown = ", ".join(str(start + step * place) for place in range(4))
    named = [str(choice) for choice in choices]
    return {"series": shown, "choices": named, "answer": choices.index(right)}


if __name__ == "__main__":
    for file, content in contents().items():
        (EXAMPLE / file).write_text(content)
