"""What the site has beside docs/: pages that lie elsewhere in the tree, and those that are written.

MkDocs loads this file as a hook. Links between pages lead where they lead on GitHub; a link to
source code, which the site does not have, becomes plain text.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tests.architecture.http_page import http_page
from tests.architecture.tree import REPOSITORY

EXPLAIN = "registry/deltareg/explain"
_FENCE = re.compile(r"(^ *```.*?^ *```[^\n]*$)", re.M | re.S)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:)([^)#\s]*)(#[^)\s]*)?\)")
_LIST = re.compile(r"^((?![-*] |\d+\. |[|>#]|\s)[^\n]+\n)(?=[-*] |\d+\. )", re.M)
_NESTED = re.compile(r"^ {2,3}(?=[-*] )", re.M)


def elsewhere() -> dict[str, str]:
    """Give the pages that lie outside of docs/: where, and where the site has them."""
    found = {
        "README.md": "index.md",
        "docs/README.md": "guide.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "deploy/README.md": "deploy.md",
    }
    for path in sorted((REPOSITORY / EXPLAIN).glob("*.md")):
        found[f"{EXPLAIN}/{path.name}"] = f"problems/{path.name}"
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the navigation: how-tos and decisions in the order of their lists."""
    config.nav = [
        {"Start": ["index.md", {"By task": "guide.md"}, {"Run it": "deploy.md"}]},
        {"How-tos": _listed("howto")},
        {
            "Reference": [
                {"Python": "python.md"},
                {"HTTP": "http.md"},
                {"Command line": "cli.md"},
                "settings.md",
                "kinds.md",
                {"Types of events": "events.md"},
                {"Problem codes": ["problems/index.md", *_problems()]},
                "format.md",
                "format-deltas.md",
            ]
        },
        {
            "Background": [
                "design.md",
                "glossary.md",
                "words.md",
                "planted.md",
                "planted-first.md",
                "planted-more.md",
                "kinds-by-checks.md",
                "planted-third.md",
                "fresh.md",
                "statistics.md",
                "style-of-output.md",
                "benchmarks.md",
                "visual-adapters.md",
                {"Decisions": _listed("adr")},
            ]
        },
        {"Project": ["contributing.md", "changelog.md"]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere and those that are written here."""
    made = {site: (REPOSITORY / path).read_text("utf-8") for path, site in elsewhere().items()}
    made["http.md"] = http_page()
    made["problems/index.md"] = _problem_list()
    if (index := files.get_file_from_path("README.md")) is not None:
        files.remove(index)  # the page of the repository's root is the site's first
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to where the site has their pages, and lists as its Markdown needs them.

    On GitHub a list needs no empty line before it, and two spaces nest.
    """
    source = _sources().get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = _FENCE.split(markdown)
    for i in range(0, len(parts), 2):
        text = _LINK.sub(lambda m: _led(m, source, page.file.src_uri), parts[i])
        parts[i] = _NESTED.sub("    ", _LIST.sub(r"\1\n", text))
    return "".join(parts)


def on_page_content(html: str, **_: Any) -> str:
    """Take out the mark with which a docstring begins a block of code."""
    return html.replace("<p>::</p>", "")


def _led(link: re.Match[str], source: str, shown_as: str) -> str:
    words, target, anchor = link[1], link[2], link[3] or ""
    if not target or shown_as in {"http.md", "problems/index.md"}:
        return link[0]
    path = os.path.normpath(PurePosixPath(source).parent / target)
    if (REPOSITORY / path).is_dir() and (REPOSITORY / path / "README.md").exists():
        path = f"{path}/README.md"
    site = elsewhere().get(path) or (path.removeprefix("docs/") if _is_in_docs(path) else "")
    if not site:
        return words if (REPOSITORY / path).exists() else link[0]  # a broken one is reported
    return f"[{words}]({os.path.relpath(site, PurePosixPath(shown_as).parent)}{anchor})"


def _is_in_docs(path: str) -> bool:
    return path.startswith("docs/") and (REPOSITORY / path).is_file()


def _sources() -> dict[str, str]:
    return {site: path for path, site in elsewhere().items()}


def _listed(folder: str) -> list[Any]:
    """Give the pages of a folder, those that its list names first and in its order."""
    index = (REPOSITORY / "docs" / folder / "README.md").read_text("utf-8")
    named = re.findall(r"\]\(([^)/#]+\.md)\)", index)
    there = sorted(path.name for path in (REPOSITORY / "docs" / folder).glob("*.md"))
    return [f"{folder}/{name}" for name in dict.fromkeys(["README.md", *named, *there])]


def _problems() -> list[str]:
    return [site for path, site in elsewhere().items() if path.startswith(EXPLAIN)]


def _problem_list() -> str:
    """List the problem codes, each with the sentence that its page begins with."""
    lines = ["# Problem codes", "", "`deltareg explain CODE` shows each of these pages.", ""]
    for path, site in elsewhere().items():
        if path.startswith(EXPLAIN):
            title = Path(REPOSITORY, path).read_text("utf-8").partition("\n")[0].removeprefix("# ")
            code, _, words = title.partition(": ")
            lines.append(f"- [`{code}`]({PurePosixPath(site).name}): {words}")
    return "\n".join([*lines, ""])
