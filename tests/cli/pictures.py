"""Makes the pictures of the terminal in `docs/images`: `python -m tests.cli.pictures`.

Each is what commands print on a terminal of 80 columns against a registry of its own.
"""

import io
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.cli.terminals import COLUMNS, Screen, show
from tests.conftest import REPOSITORY
from tests.e2e.demo import Story, registry

IMAGES = REPOSITORY / "docs" / "images"
_BEFORE = (
    "base push samples/bases/tinyllama tinyllama",
    "push samples/deltas/tinyllama/lora team/code --base tinyllama -m 'first release'",
    "push samples/bad/dead_zero_b team/broken --base tinyllama",
)
PICTURES = {
    "terminal-verify": ("verify team/code:v1 --wait", "verify team/broken:v1 --wait"),
    "terminal-channel": (
        "promote team/code:v1 --channel prod -m 'first release'",
        "show team/code:v1",
        "channel show team/code prod",
        "gate check team/broken:v1 --channel prod",
    ),
    "terminal-help": ("--help",),
}
_FONT = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)  # a picture fetches nothing


def draw(steps: Sequence[tuple[str, Screen]], title: str) -> str:
    """Draw commands and what each printed as one SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line, screen in steps:
        console.print(Text(f"$ deltareg {line}", style="bold"))
        console.print(Text.from_ansi(screen.painted.rstrip("\n")))
        console.print()
    svg = console.export_svg(title=title, unique_id=title.replace(" ", "-"))
    return "\n".join(line.rstrip() for line in _FONT.sub("", svg).splitlines()) + "\n"


def make(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Run the commands of every picture, and draw them."""
    shutil.copytree(REPOSITORY / "tests" / "samples", folder / "samples")
    for line in _BEFORE:
        _run(line, environ, folder)
    return {
        name: draw([(line, _run(line, environ, folder)) for line in lines], "deltareg")
        for name, lines in PICTURES.items()
    }


def _run(line: str, environ: Mapping[str, str], folder: Path) -> Screen:
    coloured = {name: value for name, value in environ.items() if name not in {"NO_COLOR", "DELTAREG_NO_PROGRESS"}}
    return show(*shlex.split(line), environ=coloured, cwd=folder)


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory(prefix="deltareg-pictures-") as name:
        folder = Path(name)
        story = Story(folder)
        with registry(folder, story):
            pictures = make(story.environ, folder)
    for name, svg in pictures.items():
        (IMAGES / f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    main()
