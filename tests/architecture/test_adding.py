"""To add a thing takes what the table in CONTRIBUTING says, and no more: each change is made here.

A folder of `added` has the files of one change, as they would lie in the repository. They are laid
over a copy of the product, the lines that its row names are put in, and the product is asked whether
the thing is there. A change that is a patch lies there as `change.patch`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deltareg.db import HEAD
from tests.architecture.tree import REPOSITORY, SOURCE_ROOTS

pytestmark = [pytest.mark.slow, pytest.mark.soak]

ADDED = Path(__file__).parent / "added"
COPIED = {".json", ".yaml", ".patch"}  # what is written to; the rest is linked
_ROW = re.compile(r"^\| (?P<what>[^|]+?) \| (?P<how>.+?) \|$", re.MULTILINE)
_FOLDER = re.compile(r"`((?:registry|cli|gpu_verify|migrations)/[\w/]+/)`")
ROWS = {
    "merge_method": "a merge method",
    "kind": "a kind",
    "command": "a command",
    "check": "a check",
    "page": "a page of the registry",
    "client_thing": "a thing of the Python client",
    "event_form": "a form of events for webhooks",
    "store": "a store",
    "column": "a column of a version",
}
"""By folder of `added`: the row of the table."""
LINES = {
    "a line in a suite": ("registry/deltareg/suites/smoke.yaml", {"  - finite\n": "  - cheerful\n"}),
    "an attribute of `Client` with its type": (
        "registry/deltareg/client/client.py",
        {
            "    from deltareg.client.resources.lines import Lines\n": (
                "    from deltareg.client.resources.moods import Moods\n"
            ),
            '    """Lines: list them, read their log."""\n': '    moods: "Moods" = load_on_use()\n',
        },
    ),
    "a line each in `db/tables/versions.py`": (
        "registry/deltareg/db/tables/versions.py",
        {
            '    sa.Column("cold_bytes", sa.BigInteger),\n    sa.UniqueConstraint("delta_id", "number")': (
                '    sa.Column("note", sa.Text),\n'
            )
        },
    ),
    "`db/lines/version_rows.py`": (
        "registry/deltareg/db/lines/version_rows.py",
        {"    base_id: int | None\n    message: str\n": "    note: str | None\n"},
    ),
    "`wire/versions.py`": (
        "registry/deltareg/wire/versions.py",
        {'    base_claim: str = ""\n    message: str\n': "    note: str | None = None\n"},
    ),
    "`service/describe.py`": (
        "registry/deltareg/service/describe.py",
        {"        semver=row.semver,\n": "        note=row.note,\n"},
    ),
    "`cli/deltareg_cli/views/versions.py`": (
        "cli/deltareg_cli/views/versions.py",
        {'        ("label", version.semver or ""),\n': '        ("note", version.note or ""),\n'},
    ),
    "`pages/templates/version.html.jinja`": (
        "registry/deltareg/pages/templates/version.html.jinja",
        {"<dd>{{ v.semver }}</dd>{% endif %}\n": "{% if v.note %}<dt>Note</dt><dd>{{ v.note }}</dd>{% endif %}\n"},
    ),
}
"""By words of a row: the file that a line is put into, and after which words what is put."""
MIGRATION = '''"""A note beside a version."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number}", "{before}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("note", sa.Text()))


def downgrade() -> None:
    op.drop_column("versions", "note")
'''
ANSWERS = {
    "merge_method": "half of the weighted sum",
    "kind": ["ia3"],
    "command": "hello, me/chat",
    "check": "pass: as cheerful says",
    "page": "200 cheerful, ada",
    "client_thing": "cheerful with memory",
    "event_form": "pager",
    "store": ["blobs", "tmp"],
    "column": ["as told", "as told", True, True],
}


def files_of(name):
    """List the files of a change, as paths below the repository."""
    paths = (path for path in (ADDED / name).rglob("*") if path.is_file())
    return sorted(str(path.relative_to(ADDED / name)) for path in paths if path.suffix not in {".pyc", ".patch"})


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Make all changes in a copy of the product, and ask it once."""
    tree = tmp_path_factory.mktemp("product")
    for root in SOURCE_ROOTS:
        shutil.copytree(REPOSITORY / root, tree / root, copy_function=link_or_copy)
    (tree / "tests").symlink_to(REPOSITORY / "tests")
    for name, row in ROWS.items():
        lay(tree, name, row)
    add_migration(tree)
    run(tree, "tests.architecture.generate_check_catalogue", "--write")  # as `make docs` does
    return json.loads(run(tree, "tests.architecture.adding", str(tmp_path_factory.mktemp("data"))))


@pytest.mark.parametrize("name", ROWS)
def test_what_was_added_is_there(answers, name):
    found = answers[name]

    assert found == ANSWERS[name] or ANSWERS[name] in found


@pytest.mark.parametrize("name", [name for name in ROWS if files_of(name)])
def test_a_row_names_every_file_that_was_added_and_no_more(name):
    files = files_of(name)
    folders = _FOLDER.findall(table()[ROWS[name]])

    assert [[path for path in files if path.startswith(folder)] for folder in folders] != []
    for folder in folders:
        deeper = [other for other in folders if other != folder and other.startswith(folder)]
        within = [path for path in files if path.startswith(folder) and not path.startswith(tuple(deeper))]
        assert len(within) == 1, (folder, files)
    assert [path for path in files if not path.startswith(tuple(folders))] == []


def test_a_column_that_is_shown_everywhere_takes_eight_files_at_most():
    named = set(re.findall(r"`([\w/]+\.(?:py|html\.jinja))`", table()[ROWS["column"]]))

    assert len(named) + len(["the migration"]) <= 8


def table():
    """Read what to write, by what to add."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    return {match["what"]: match["how"] for match in _ROW.finditer(text)}


def lay(tree, name, row):
    """Make a change: its files, the lines that its row names, and its patch where it has one."""
    for path in files_of(name):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ADDED / name / path, tree / path)
    for words, (path, lines) in LINES.items():
        if words in table()[row]:
            put_lines(tree / path, lines)
    patch = ADDED / name / "change.patch"
    if patch.exists():
        apply_patch(tree, patch)


def add_migration(tree):
    """Add the migration of the column, and its number."""
    before = HEAD
    number = f"{int(before) + 1:04}"
    versions = tree / "migrations" / "deltareg_migrations" / "versions"
    (versions / f"{number}_notes.py").write_text(MIGRATION.format(number=number, before=before))
    put_lines(tree / "registry" / "deltareg" / "db" / "__init__.py", {f'HEAD = "{before}"\n': f'HEAD = "{number}"\n'})


def put_lines(path, lines):
    """Put lines after words, each of which is there once; in front of a last line that is not whole."""
    text = path.read_text()
    for after, line in lines.items():
        assert text.count(after) == 1, (path, after)
        whole, broken = after[: after.rindex("\n") + 1], after[after.rindex("\n") + 1 :]
        text = text.replace(after, whole + line + broken)
    path.unlink()  # it may be a link
    path.write_text(text)


def apply_patch(tree, patch):
    """Apply a patch; the files that it changes are copied first, for a link leads out of the tree."""
    for path in re.findall(r"^--- a/(\S+)", patch.read_text(), re.MULTILINE):
        content = (tree / path).read_bytes()
        (tree / path).unlink()
        (tree / path).write_bytes(content)
    subprocess.run(["patch", "-p1", "-s", "-i", patch], cwd=tree, check=True)


def run(tree, module, *arguments):
    """Run a module with the tree's product, and give what it prints."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *(str(tree / root) for root in SOURCE_ROOTS)])}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=tree, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def link_or_copy(source, to):
    """Link what is read, compiled modules among it; copy what is written."""
    if Path(source).suffix in COPIED:
        shutil.copyfile(source, to)
    else:
        Path(to).symlink_to(source)
