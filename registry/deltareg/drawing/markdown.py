"""Foreign Markdown as HTML that contains only text, such as a card's.

It drops the author's HTML and images (which would tell another host who reads), and keeps links
only to the web, to mail addresses and within the page. Headings begin below those of the page.
"""

import re
from collections.abc import MutableMapping, Sequence
from functools import cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

MOST: Final = 200_000
_LINK: Final = re.compile(r"(?:https?://|mailto:|#)[^\s\\]*", re.IGNORECASE)
_FRONT: Final = re.compile(r"\A\ufeff?---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", re.S | re.M)
_TOP: Final = 3


def html_of(text: str) -> str:
    """Convert Markdown to HTML; front matter is left out, and long texts are cut."""
    plain = _FRONT.sub("", text, count=1)
    # What scrolls by itself is reached by keys; text of others has its signs escaped by now.
    return str(_parser().render(plain[:MOST])).replace("<pre>", '<pre tabindex="0">')


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    parser.disable(["image", "html_block", "html_inline"])
    parser.validateLink = lambda url: _LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    for rule in ("heading_open", "heading_close"):
        parser.add_render_rule(rule, _heading)
    for rule in ("th_open", "td_open"):
        parser.add_render_rule(rule, _cell)
    return parser


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, _env: MutableMapping[str, Any]
) -> str:
    tokens[at].attrSet("rel", "noreferrer nofollow")
    return renderer.renderToken(tokens, at, options, _env)


def _heading(
    renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, _env: MutableMapping[str, Any]
) -> str:
    token = tokens[at]
    token.tag = f"h{min(6, int(token.tag[1]) + _TOP - 1)}"
    return renderer.renderToken(tokens, at, options, _env)


def _cell(
    renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, _env: MutableMapping[str, Any]
) -> str:
    tokens[at].attrs.pop("style", None)  # pages allow no style that stands with the text
    return renderer.renderToken(tokens, at, options, _env)
