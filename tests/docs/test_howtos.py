"""Every console block of the docs does what it says: each page is run from top to bottom."""

import os
import re

import pytest

from tests.docs.blocks import Block, read_blocks
from tests.docs.desks import real_desk, scripted_desk
from tests.docs.pages import FIRST, PAGES, Page, every_page, name_of, pages
from tests.e2e.tour import mask

# Blocks that cannot run where the tests do; each says on its page what it needs.
MOST_OBSTACLES = 58
HIDDEN = re.compile(r"^(\$ )?(deltareg|pip|docker) [a-z-]+( \S|$)", re.MULTILINE)


def _parameters():
    parameters = []
    for path in pages():
        if name_of(path) == "README.md":
            continue  # run with its tour, in tests/e2e
        page = PAGES.get(name_of(path), Page())
        marks = [pytest.mark.slow, pytest.mark.timeout(900)]
        if name_of(path) not in FIRST:
            marks.append(pytest.mark.soak)
        parameters.append(pytest.param(path, page, id=name_of(path), marks=marks))
    return parameters


@pytest.fixture
def desk(request, tmp_path, nursery):
    """Give the desk that a page is run on."""
    page = request.node.callspec.params["page"]
    if page.is_real:
        with real_desk(tmp_path) as laid, nursery.forking():
            page.prepare(laid)
            yield laid
    else:
        server = request.getfixturevalue("local_registry")
        with scripted_desk(server, tmp_path, is_judged=page.is_judged) as laid, nursery.forking():
            page.prepare(laid)
            yield laid


@pytest.mark.parametrize(("path", "page"), _parameters())
def test_a_page_runs_from_top_to_bottom(path, page, desk):
    failures, printed = [], {}

    for block in read_blocks(path):
        if block.file is not None:
            (desk.folder / block.file).write_text(desk.terminal.fill(block.body))
        if not block.is_console or block.obstacle is not None:
            continue
        for command in block.commands():
            status, output = desk.terminal.type(command)
            if status not in command.statuses:
                failures.append(f"{path.name}:{command.line}\n$ {command.text}\n{output}(exit status {status})")
                continue
            printed[command] = output
            if missing := not_printed(command.output or "", output):
                failures.append(f"{path.name}:{command.line}\n$ {command.text}\n{output}\n--- shown:\n{missing}")

    if os.environ.get("DELTAREG_TEST_WRITE_DOCS"):
        write_outputs(path, printed)
    assert not failures, "\n\n".join(failures)


def write_outputs(path, printed):
    """Write into a page what its commands printed, where it shows all of what they did before."""
    text = path.read_text("utf-8")
    for command, output in printed.items():
        if command.output and "…" not in command.output and not_printed(command.output, output):
            text = text.replace(command.output, output.rstrip(), 1)
    path.write_text(text, "utf-8")


def not_printed(shown, printed):
    """Give the first line that a page shows and no command printed; `…` stands for anything."""
    lines = iter([" ".join(mask(line).split()) for line in printed.splitlines()])
    for line in shown.splitlines():
        pattern = re.escape(" ".join(mask(line).split())).replace("…", ".*")
        if line in ("", "…") or line.startswith("(exit status"):
            continue
        if not any(re.fullmatch(pattern, one) for one in lines):
            return line
    return None


def test_what_does_not_run_says_why():
    blocks = [(path, block) for path in pages() for block in read_blocks(path) if block.is_console]
    obstacles = [(path, block) for path, block in blocks if block.obstacle is not None]

    print(f"\n{len(blocks) - len(obstacles)} of {len(blocks)} console blocks run")
    for path, block in obstacles:
        print(f"  {name_of(path)}:{block.line} does not run here: {block.obstacle}")

    assert len(obstacles) <= MOST_OBSTACLES


def test_every_command_stands_in_a_console_block():
    hidden = []
    for path in every_page():
        text = path.read_text("utf-8")
        for block in read_blocks(path):
            text = text.replace(block.body, "\n" * block.body.count("\n"))
            if not block.is_console and HIDDEN.search(block.body):
                hidden.append(f"{name_of(path)}:{block.line} is no console block")
        for number, line in enumerate(text.splitlines(), start=1):
            if re.match(r" {4,}(\$ |deltareg |pip )", line):
                hidden.append(f"{name_of(path)}:{number} is indented: {line.strip()}")

    assert hidden == []


def test_every_table_row_has_its_page():
    assert set(PAGES) | FIRST <= {name_of(path) for path in pages()}
    assert not any(PAGES[name].is_real for name in FIRST)


def test_a_block_is_read_as_it_is_typed():
    body = "export A=1  # a note\n# as ben\ndeltareg rm x  # exits 5\ncat > f <<'EOF'\n# kept\nEOF\na \\\n  b\n"

    typed = [(one.line, one.text, one.user, set(one.statuses)) for one in Block(10, "sh", body).commands()]

    assert typed == [
        (10, "export A=1", None, {0}),
        (12, "deltareg rm x", "ben", {5}),
        (13, "cat > f <<'EOF'\n# kept\nEOF", "ben", {0}),
        (16, "a \\\n  b", "ben", {0}),
    ]


def test_a_transcript_shows_what_is_printed_and_how_it_ends():
    body = "$ deltareg ls\nme/chat\n\n$ deltareg rm me/chat:v1\nerror: no\n(exit status 5)\n"

    first, second = Block(1, "console", body).commands()

    assert (first.text, first.output, first.statuses) == ("deltareg ls", "me/chat", frozenset({0}))
    assert (second.text, second.line, second.statuses) == ("deltareg rm me/chat:v1", 4, frozenset({5}))
