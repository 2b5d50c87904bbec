"""What CI, images and docs take from others is named by its content: actions by commit, images by digest."""

import re

import pytest

from tests.conftest import REPOSITORY

PLACES = (".github", "deploy", "docs/howto", "README.md", "Makefile", "pyproject.toml")
KINDS = {".yml", ".yaml", ".md", ".toml", ""}
NO_DIGEST_YET = {"python:3.13-slim-trixie", "postgres:18"}
"""Images whose digest could not be looked up where they were written; deploy/README.md says how to before a release."""
_USES = re.compile(r"^\s*(?:- )?uses:\s*[\"']?([^\s\"'#]+)", re.M)
_IMAGE = re.compile(
    r"^\s*(?:- )?(?:image:|FROM|ARG BASE=|docker run .*?)\s*[\"']?([a-z0-9][\w./-]*[:@][\w.@:-]+)", re.M
)
_COMMIT = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
_OURS = re.compile(r"(OWNER/)?deltareg|registry\.(example|internal)")


def files():
    for place in PLACES:
        root = REPOSITORY / place
        found = [root] if root.is_file() else sorted(root.rglob("*"))
        yield from (path for path in found if path.is_file() and path.suffix in KINDS | {".tpl"})
        if root.is_dir():
            yield from (path for path in found if path.name.startswith("Dockerfile") and path.suffix not in KINDS)


def named(pattern):
    return sorted(
        {(str(path.relative_to(REPOSITORY)), found) for path in files() for found in pattern.findall(path.read_text())}
    )


@pytest.mark.parametrize(("path", "action"), named(_USES))
def test_an_action_is_pinned_by_its_commit(path, action):
    assert _OURS.match(action) or action.startswith("./") or _COMMIT.fullmatch(action), f"{path}: {action}"


def test_an_image_of_others_is_pinned_by_its_digest_or_listed():
    images = {image for _, image in named(_IMAGE) if not _OURS.match(image)}

    unpinned = {image for image in images if re.search(r"@sha256:[0-9a-f]{64}$", image) is None}

    assert unpinned == NO_DIGEST_YET


def test_what_has_no_digest_yet_is_said_where_releases_are_made():
    page = (REPOSITORY / "deploy" / "README.md").read_text()

    assert all(f"`{image}`" in page for image in NO_DIGEST_YET)


def test_the_scan_sees_what_it_is_for():
    assert len(named(_USES)) >= 8
    assert {path for path, _ in named(_IMAGE)} >= {"deploy/Dockerfile", "deploy/compose.production.yaml"}
