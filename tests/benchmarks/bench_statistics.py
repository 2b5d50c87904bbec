"""How well intervals cover, and how often looks err: `python tests/benchmarks/bench_statistics.py`.

Means and ratios are drawn from distributions whose mean is known; shares are counted out, sample by
sample, so their figures are exact. Trials stand at their margin: to pass one is an error there, and
so is to fail it.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # only now the tests can be imported
from scipy import stats

from deltareg.statistics.intervals import mean_interval, paired_interval, share_interval
from deltareg.statistics.looks import growing, look_tails
from deltareg.statistics.redrawing import LUMPS, RedrawnRuns
from deltareg.statistics.trial import Look, decide
from deltareg.suites.estimate import of_drawn, rows_drawn
from tests.benchmarks.page import write_page
from tests.statistics.populations import POPULATIONS, RUNS, decisions

_PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
_COUNTS = (10, 20, 50, 200)
_LEAST, _MOST = 0.93, 0.97
_POWER = 0.8
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
DRAWN: dict[str, tuple[Draw, float, float]] = {  # how it is drawn, its mean, its deviation
    "normal": (lambda random, shape: random.normal(size=shape), 0.0, 1.0),
    "exponential": (lambda random, shape: random.exponential(size=shape), 1.0, 1.0),
    "lognormal, sigma 1/2": (
        lambda random, shape: random.lognormal(0, 0.5, shape),
        math.exp(1 / 8),
        math.exp(1 / 8) * math.sqrt(math.exp(1 / 4) - 1),
    ),
    "Student's t, 3 degrees": (lambda random, shape: random.standard_t(3, shape), 0.0, math.sqrt(3)),
    "half zeros, else exponential": (
        lambda random, shape: (random.random(shape) < 0.5) * random.exponential(size=shape),
        0.5,
        math.sqrt(3) / 2,
    ),
    "two humps": (
        lambda random, shape: np.where(random.random(shape) < 0.5, -2, 2) + 0.5 * random.normal(size=shape),
        0.0,
        math.sqrt(4.25),
    ),
    "lognormal, sigma 1": (
        lambda random, shape: random.lognormal(0, 1, shape),
        math.exp(1 / 2),
        math.exp(1 / 2) * math.sqrt(math.e - 1),
    ),
    "seven zeros of ten, else lognormal": (
        lambda random, shape: (random.random(shape) < 0.3) * random.lognormal(0, 1, shape),
        0.3 * math.exp(1 / 2),
        math.sqrt(0.3 * math.exp(2) - 0.09 * math.e),
    ),
}
_PAIRS = ((0.02, 0.02), (0.05, 0.05), (0.1, 0.1), (0.2, 0.2), (0.05, 0.1), (0.1, 0.3))
_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4_000, help="samples for each figure")
    parser.add_argument("--trials", type=int, default=2_000, help="trials for each figure")
    parser.add_argument("--write-docs", action="store_true", help="put the tables in the docs")
    asked = parser.parse_args()
    parts = {
        "coverage": "\n".join(coverage(asked.draws)),
        "shares": "\n".join(shares()),
        "trials": "\n".join(trials(asked.trials)),
        "claims": "\n".join(claims()),
    }
    for marker, text in parts.items():
        print(text, end="\n\n")
        if asked.write_docs:
            write_page(_PAGE, marker, text)


def coverage(draws: int) -> Iterator[str]:
    """Tell how often an interval holds the mean, and on which side it does not."""
    yield f"{f'mean of {draws} samples each':<38}" + "".join(f"{f'n = {n}':>20}" for n in _COUNTS)
    for name, (draw, mean, _) in DRAWN.items():
        yield f"{name:<38}" + "".join(_covered(draw, mean, n, draws) for n in _COUNTS)
    yield f"{'loss a token, texts of 5 to 40 tokens':<38}" + "".join(_covered_ratio(n, draws) for n in _COUNTS)
    yield f"{'a median, by drawing samples again':<38}" + "".join(_covered_drawn(n, draws) for n in _COUNTS)


def shares() -> Iterator[str]:
    """Tell the same of shares and of their paired differences, by counting all outcomes."""
    yield f"{'a share':<38}" + "".join(f"{f'n = {n}':>20}" for n in _COUNTS)
    for share in _SHARES:
        yield f"{share:<38}" + "".join(_cell(*_share(share, n)) for n in _COUNTS)
    yield ""
    yield f"{'gained and lost':<38}" + "".join(f"{f'n = {n}':>20}" for n in _COUNTS)
    for pair in _PAIRS:
        name = f"{pair[0]:g} and {pair[1]:g}"
        yield f"{name:<38}" + "".join(_cell(*_pair(*pair, n)) for n in _COUNTS)


def trials(count: int) -> Iterator[str]:
    """Tell how often trials at their margin are passed or failed, and what looks save."""
    planned = growing(50, 400)
    yield f"{f'{count} trials each, looks at ' + ', '.join(map(str, planned)):<48}" + (
        f"{'wrongly met':>12}{'wrongly missed':>16}{'samples':>9}{'where nothing is lost':>23}"
    )
    for name, (draw, mean, deviation) in list(DRAWN.items())[:6]:
        is_even = name in {"normal", "two humps", "Student's t, 3 degrees"}
        for sign, side in ((1, ""),) if is_even else ((1, ", better"), (-1, ", worse")):
            told = f"{name}{side and f'{side} ones far out'}"
            yield f"{told:<48}" + _tried(draw, sign, mean, deviation, count, planned)
    yield f"{'answers, 1 of 10 gained, 1.3 of 10 lost':<48}" + _tried_shares(count, planned)
    yield ""
    yield f"{'of 5 comparisons, how often one is missed':<48}{'all at their margins':>22}{'where nothing is lost':>23}"
    yield f"{'':<48}{_family(count // 4, loss=0.2):>22.3f}{_family(count // 4, loss=0.0):>23.3f}"
    alone, beside = _five_losses(count // 10)
    yield ""
    yield f"{'five losses of half a margin, one after another':<48}{'all promoted':>14}"
    yield f"{'  each held against the promoted one':<48}{alone:>14.3f}"
    yield f"{'  and against the best that was served':<48}{beside:>14.3f}"


def claims() -> Iterator[str]:
    """What a draft claims to stop in 80 of 100 cases, and how often the gate does, on samples drawn anew."""
    head = ("power", "passes", "held from", "is held", "fails from", "fails")
    yield f"{f'claims with a margin, tried on {RUNS:,} new runs each':<52}" + "".join(f"{one:>11}" for one in head)
    for name, samples in POPULATIONS.items():
        margin = 0.1 if samples.is_share else 0.08
        for n in (50, 200):
            for lumps in (0.0,) if samples.is_share else (0.0, LUMPS):
                runs = RedrawnRuns(samples, n)
                held = runs.stopped_loss(margin, power=_POWER, lumps=lumps)
                failed = runs.failed_loss(margin, power=_POWER, lumps=lumps)
                passes, _ = decisions(samples, n, margin, loss=0.0, lumps=0.0)
                still, _ = decisions(samples, n, margin, loss=held, lumps=lumps)
                fails = (
                    "" if failed == math.inf else f"{decisions(samples, n, margin, loss=failed, lumps=lumps)[1]:.3f}"
                )
                is_lumpy = ", on a tenth of them" if lumps else ""
                cells = (f"{runs.chance_to_pass(margin):.3f}", f"{passes:.3f}", f"{held:.4f}", f"{1 - still:.3f}")
                ends = ("never" if failed == math.inf else f"{failed:.4f}", fails)
                yield f"{f'{name}, n = {n}{is_lumpy}':<52}" + "".join(f"{one:>11}" for one in (*cells, *ends))


def _covered(draw: Draw, mean: float, n: int, draws: int) -> str:
    samples = draw(np.random.default_rng(n), (draws, n))
    found = [mean_interval(one) for one in samples]
    above = float(np.mean([one.low > mean for one in found]))
    return _cell(above, float(np.mean([one.high < mean for one in found])))


def _covered_ratio(n: int, draws: int) -> str:
    random, above, below = np.random.default_rng(n), 0, 0
    for _ in range(draws):
        sizes = random.integers(5, 41, n).astype(np.float64)
        found = mean_interval(sizes * random.gamma(4, 0.5, n), sizes)
        above, below = above + (found.low > 2), below + (found.high < 2)
    return _cell(above / draws, below / draws)


def _covered_drawn(n: int, draws: int) -> str:
    """The median of normal samples, as a statistic that is no mean."""
    random, above, below = np.random.default_rng(n), 0, 0
    rows = rows_drawn(n, seed=1)
    for _ in range(draws):
        sample = random.normal(size=n)
        found = of_drawn(float(np.median(sample)), np.median(sample[rows], axis=1), n)
        above, below = above + (found.low > 0), below + (found.high < 0)
    return _cell(above / draws, below / draws)


def _share(share: float, n: int) -> tuple[float, float]:
    hits = np.arange(n + 1)
    likely = stats.binom.pmf(hits, n, share)
    found = [share_interval(int(one), n) for one in hits]
    above = sum(p for p, one in zip(likely, found, strict=True) if one.low > share)
    return float(above), float(sum(p for p, one in zip(likely, found, strict=True) if one.high < share))


def _pair(gained: float, lost: float, n: int) -> tuple[float, float]:
    above = below = 0.0
    for g in range(n + 1):
        left = stats.binom.pmf(g, n, gained)
        if left < 1e-9:
            continue
        for b in range(n - g + 1):
            likely = left * stats.binom.pmf(b, n - g, lost / (1 - gained))
            if likely < 1e-9:
                continue
            found = paired_interval(g, b, n)
            above += likely * (found.low > gained - lost + 1e-9)
            below += likely * (found.high < gained - lost - 1e-9)
    return above, below


def _cell(above: float, below: float) -> str:
    covered = 1 - above - below
    mark = " " if _LEAST <= covered <= _MOST else "*"
    return f"{f'{covered:.3f}{mark} {above:.3f} {below:.3f}':>20}"


def _tried(draw: Draw, sign: int, mean: float, deviation: float, count: int, planned: tuple[int, ...]) -> str:
    random = np.random.default_rng(11)
    met = missed = 0
    for _ in range(count):
        values = sign * (draw(random, (planned[-1],)) - mean) / deviation
        said, _n = _decided(values - 0.2, planned)
        met, missed = met + (said == "met"), missed + (said == "missed")
    seen, passed = [], 0
    for _ in range(count // 10):
        values = sign * (draw(random, (planned[-1],)) - mean) / deviation
        said, n = _decided(values, planned)
        seen.append(n)
        passed += said == "met"
    told = f"{passed / len(seen):.2f} pass, {np.mean(seen):.0f}"
    return f"{met / count:>12.3f}{missed / count:>16.3f}{planned[-1]:>9}{told:>23}"


def _decided(values: np.ndarray, planned: tuple[int, ...]) -> tuple[str, int]:
    looks: list[Look] = []
    said = "undecided"
    for n in planned:
        looks.append(_look(values[:n]))
        said = decide(looks, planned)
        if said != "undecided":
            return said, n
    return said, planned[-1]


def _look(values: np.ndarray) -> Look:
    return Look(lambda tail: mean_interval(values, tail=tail), -0.2)


def _look_at_shares(gained: int, lost: int, n: int) -> Look:
    return Look(lambda tail: paired_interval(gained, lost, n, tail=tail), -0.03)


def _tried_shares(count: int, planned: tuple[int, ...]) -> str:
    def run(lost: float, times: int) -> tuple[float, float, float]:
        met = missed = 0
        seen: list[int] = []
        for _ in range(times):
            drawn = random.random(planned[-1])
            looks: list[Look] = []
            said = "undecided"
            for n in planned:
                g, b = int((drawn[:n] < 0.1).sum()), int((drawn[:n] > 1 - lost).sum())
                looks.append(_look_at_shares(g, b, n))
                said = decide(looks, planned)
                if said != "undecided":
                    break
            seen.append(planned[len(looks) - 1])
            met, missed = met + (said == "met"), missed + (said == "missed")
        return met / times, missed / times, float(np.mean(seen))

    random = np.random.default_rng(12)
    met, missed, _ = run(0.13, count)
    passed, _, seen = run(0.1, max(1, count // 10))
    told = f"{passed:.2f} pass, {seen:.0f}"
    return f"{met:>12.3f}{missed:>16.3f}{planned[-1]:>9}{told:>23}"


def _family(count: int, *, loss: float) -> float:
    """How often one of five comparisons with a margin of 0.2 is said to be missed."""
    random, missed = np.random.default_rng(13), 0
    for _ in range(count):
        looks = [_look(random.normal(-loss, 1.0, 60)) for _one in range(5)]
        missed += any(decide([look], (60,)) == "missed" for look in looks)
    return missed / count


def _five_losses(count: int) -> tuple[float, float]:
    """How often five losses of half a margin each all go through, on 800 samples."""
    random, n, margin, tail = np.random.default_rng(14), 800, 0.1, look_tails((1,))[0]
    alone = beside = 0
    for _ in range(count):
        first = random.normal(0, 1, n)
        line = [first]
        for _step in range(5):
            line.append(line[-1] - margin / 2 + random.normal(0, 0.3, n))
        steps = [mean_interval(b - a, tail=tail).low >= -margin for a, b in pairwise(line)]
        whole = [mean_interval(one - first, tail=tail).low >= -margin for one in line[1:]]
        alone += all(steps)
        beside += all(steps) and all(whole)
    return alone / count, beside / count


if __name__ == "__main__":
    main()
