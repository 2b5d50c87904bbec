"""The plot of the codec's benchmark: how small against how fast, for encoding and for decoding."""

from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.data import all_sets
from tests.benchmarks.measuring import Result
from tests.benchmarks.results import Results

SHOWN = ("minilm-2e-5-bf16", "synthetic-40-bf16")
_LEFT_OUT = {  # what stands beside a better one of its family
    "ours max",
    "ours planes",
    "ours fast, NumPy",
    "zstd -1",
    "zstd -9",
    "blosc2 shuffle+zstd",
    "lmzip",
    "z4ai",
}
_OURS, _THEIRS, _TEXT, _GRID = "#0b6e4f", "#8a9099", "#22262b", "#e3e6ea"
_PANELS = (("encode", "encoding"), ("decode", "decoding"))
_LETTER, _LINE, _FAR = 4.9, 11.0, 1e4  # points of width and height
_SPEEDS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_PLACES = (
    *(("left", x, y) for x, y in ((7, 0), (6, 8), (6, -8))),
    *(("right", x, y) for x, y in ((-7, 0), (-6, 8), (-6, -8))),
    *(("center", 0, y) for y in (12, -12, 22, -22)),
)


def draw(results: Results, path: Path) -> str:
    """Draw what is there of two sets, and say where it lies or why there is no plot."""
    sets = [name for name in SHOWN if any(of == name for of, _ in results)]
    if find_spec("matplotlib") is None:
        return "no plot: not installed: matplotlib"
    if not sets:
        return f"no plot: it shows {' and '.join(SHOWN)}"
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.family": "DejaVu Sans", "font.size": 8.5, "text.color": _TEXT})
    size = (10, 4.2 * len(sets))
    plot, axes = pyplot.subplots(len(sets), 2, figsize=size, squeeze=False, sharey="row")
    plot.subplots_adjust(0.06, 0.05 * 2 / len(sets), 0.99, 0.96, wspace=0.05, hspace=0.22)
    for row, name in zip(axes, sets, strict=True):
        shown = [r for (of, _), r in results.items() if of == name and _has_place(r)]
        for panel, (side, word) in zip(row, _PANELS, strict=True):
            _panel(panel, shown, side)
            panel.set_title(f"{_title(shown[0])}: {word}", loc="left", fontsize=10, color=_TEXT)
        row[0].set_ylabel("original size / stored size")
    for panel in axes[-1]:
        panel.set_xlabel("MB of original a second and core")
    path.parent.mkdir(parents=True, exist_ok=True)
    plot.savefig(path, dpi=100, facecolor="white", pil_kwargs={"optimize": True})
    pyplot.close(plot)
    return f"{path}: {path.stat().st_size // 1000} kB"


def _panel(panel, rows: list[Result], side: str) -> None:
    points = [(row.rate(f"{side}_core"), row.ratio, row) for row in rows]
    panel.set_xscale("log")
    speeds = [speed for speed, _, _ in points]
    panel.set_xlim(min(speeds) / 1.5, max(speeds) * 1.9)
    panel.set_ylim(0, 1.12 * max(ratio for _, ratio, _ in points))
    for speed, ratio, row in points:
        _point(panel, speed, ratio, row)
    _ticks(panel)
    _name(panel, points)


def _point(panel, speed, ratio, row):
    is_numpy = row.codec.endswith("NumPy")
    panel.scatter(
        [speed],
        [ratio],
        s=46 if row.is_ours else 26,
        zorder=3,
        linewidths=1.4,
        marker="o" if row.is_ours else "s",
        facecolors="white" if is_numpy else (_OURS if row.is_ours else _THEIRS),
        edgecolors=_OURS if row.is_ours else _THEIRS,
    )


def _name(panel, points):
    """Put each name beside its point, where it is least in the way."""
    at = [panel.transData.transform(p[:2]) * 72 / panel.figure.dpi for p in points]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at] + _outside(panel)
    order = sorted(range(len(points)), key=lambda i: (not points[i][2].is_ours, -points[i][1]))
    for i in order:
        speed, ratio, row = points[i]
        boxes = [_box(at[i], place, row.codec) for place in _PLACES]
        best = min(range(len(_PLACES)), key=lambda n: _overlap(boxes[n], taken) + n / 100)
        side, x, y = _PLACES[best]
        taken.append(boxes[best])
        panel.annotate(
            row.codec,
            (speed, ratio),
            xytext=(x, y),
            textcoords="offset points",
            va="center",
            color=_OURS if row.is_ours else _TEXT,
            weight="bold" if row.is_ours else "normal",
            fontsize=8,
            zorder=4,
            ha=side,
        )


def _box(at, place, text):
    (x, y), (side, right, up) = at, place
    width = _LETTER * len(text)
    left = x + right - {"left": 0, "center": width / 2, "right": width}[side]
    return (left, y + up - _LINE / 2, left + width, y + up + _LINE / 2)


def _outside(panel):
    box = panel.get_window_extent()
    left, right = (edge * 72 / panel.figure.dpi for edge in (box.x0, box.x1))
    return [(left - _FAR, -_FAR, left, _FAR), (right, -_FAR, right + _FAR, _FAR)]


def _overlap(box, taken):
    return sum(
        max(0, min(box[2], other[2]) - max(box[0], other[0])) * max(0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in taken
    )


def _ticks(panel):
    from matplotlib.ticker import FuncFormatter, NullFormatter

    least, most = panel.get_xlim()
    panel.set_xticks([speed for speed in _SPEEDS if least <= speed <= most])
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(color=_GRID, linewidth=0.8, zorder=0)
    panel.tick_params(which="both", length=0, colors=_TEXT)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _has_place(row: Result) -> bool:
    return not row.note and not row.is_slice and row.codec not in _LEFT_OUT


def _title(row: Result) -> str:
    label = " ".join(all_sets()[row.set].label)
    return f"{label}, bf16, {100 * (row.changed or 0):.0f} % changed"
