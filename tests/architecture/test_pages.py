"""Links between the project's pages lead somewhere, and what pages claim of the code is true."""

import re
import subprocess
import sys
from functools import cache

import pytest

from tests.architecture.tree import REPOSITORY, pages

LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(?:#[^)\s]*)?\)")
ANCHOR = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)#([^)\s]+)\)")
HOWTO = REPOSITORY / "docs" / "howto"
# What each call of the S3 library asks for; HEAD and parts of uploads have no action of their own.
S3_ACTIONS = {
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "complete_multipart_upload": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "generate_presigned_url": "s3:GetObject",
    "get_object": "s3:GetObject",
    "get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
    "get_paginator": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "put_object": "s3:PutObject",
    "upload_part": "s3:PutObject",
}


@cache
def anchors(path):
    """Give the anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for title in re.findall(r"^#+ +(.+?) *$", without_code(path), flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        again = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one) is not None for one in found)
        found.append(f"{slug}-{again}" if again else slug)
    return frozenset(found)


def without_code(path):
    """Give a page's text without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.M | re.S)


@pytest.mark.parametrize("page", pages(), ids=str)
def test_a_link_leads_to_a_file(page):
    folder = (REPOSITORY / page).parent

    links = LINK.findall(without_code(REPOSITORY / page))
    broken = [target for target in links if not (folder / target).exists()]

    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=str)
def test_a_link_to_a_heading_leads_to_one(page):
    path = REPOSITORY / page

    broken = [
        (target, anchor)
        for target, anchor in ANCHOR.findall(without_code(path))
        if anchor not in anchors((path.parent / target).resolve() if target else path)
    ]

    assert broken == []


def test_every_how_to_is_listed():
    index = (HOWTO / "README.md").read_text()

    assert [p.name for p in sorted(HOWTO.glob("[a-z]*.md")) if f"]({p.name})" not in index] == []


def test_the_page_on_buckets_names_every_action_and_no_other():
    source = (REPOSITORY / "registry/deltareg/store/s3/bucket.py").read_text()
    page = (HOWTO / "s3-permissions.md").read_text()

    called = set(re.findall(r"self\._client\.(\w+)", source))

    assert called == S3_ACTIONS.keys()
    # A lock is put on with the object, by a header that asks for an action of its own.
    named = {*S3_ACTIONS.values(), "s3:PutObjectRetention"}
    assert set(re.findall(r"\bs3:[A-Z]\w+", page)) == named


def test_the_command_for_a_lost_token_makes_one(service_folder):
    page = (HOWTO / "lost-tokens.md").read_text()
    line = re.findall(r"^deltareg-server (token create --admin.*?)$", page, flags=re.M)[-1]
    words = line.replace("deltareg-data", str(service_folder)).split()

    made = subprocess.run([sys.executable, "-m", "deltareg.api", *words], capture_output=True, text=True, check=True)

    assert re.fullmatch(r"drg_pat_\w+\n", made.stdout)


@pytest.fixture
def service_folder(forked, tmp_path):
    """Give a data folder with a database of this release."""
    url = f"sqlite:///{tmp_path}/registry.db"
    command = [sys.executable, "-m", "deltareg_migrations", "--url", url, "upgrade"]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def test_every_decision_is_listed():
    adr = REPOSITORY / "docs" / "adr"
    index = (adr / "README.md").read_text()

    missing = [p.name for p in sorted(adr.glob("[0-9]*.md")) if f"]({p.name})" not in index]

    assert missing == []
