"""Markdown of others: text and links become markup, and nothing else."""

from html.parser import HTMLParser

import pytest

from deltareg.drawing.markdown import html_of

HARMLESS = {
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "em",
    "strong",
    "code",
    "pre",
    "ul",
    "ol",
    "li",
    "a",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "blockquote",
    "hr",
    "br",
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html,<script>)",
    "[x](vbscript:x)",
    "[x](//evil.example)",
    "[x](\\\\evil.example)",
    "<javascript:alert(1)>",
    '[x](http://a "><script>alert(1)</script>")',
    "[x]: javascript:alert(1)\n\n[x]",
    "a <b onclick=alert(1)>b</b>",
    "<!-- x -->",
    "<a href='javascript:x'>x</a>",
    "&#x3C;script>",
    "`<script>`",
    "```html\n<script>alert(1)</script>\n```",
    "<style>*{}</style>",
    "[x](http://a\nb)",
    "[x](&#106;avascript:alert(1))",
    "![](javascript:x)",
    '<http://a" onx=1>',
    "# <script>",
    "|a|\n|:-:|\n|b|",
    "| <b> | x |\n|-|-|\n| <i> | [y](ftp://x) |",
    "[a](tel:1)",
    "***" * 400,
]


class Harmless(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert tag in HARMLESS, tag
        allowed = {"href", "rel", "title", "class", "start"}
        assert set(found) <= allowed | ({"tabindex"} if tag == "pre" else set()), found
        if tag == "a":
            assert found["rel"] == "noreferrer nofollow"
            self.links.append(found["href"])

    handle_startendtag = handle_starttag


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_but_text_and_links_to_the_web_comes_out(text):
    page = Harmless()
    page.feed(html_of(text))

    assert all(link.startswith(("http://", "https://", "mailto:", "#")) for link in page.links)


def test_a_card_is_read_without_its_front_matter_and_below_the_pages_headings():
    told = html_of("---\nlicense: mit\n---\n# Title\n\nIt *helps*.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")

    assert "license" not in told
    assert "<h3>Title</h3>" in told
    assert "<em>helps</em>" in told
    assert "<td>1</td>" in told


def test_a_link_says_nothing_of_where_it_was_followed():
    assert html_of("[x](https://example.org/)") == (
        '<p><a href="https://example.org/" rel="noreferrer nofollow">x</a></p>\n'
    )


def test_what_is_endless_ends():
    assert len(html_of("a " * 1_000_000)) < 210_000
    assert html_of("[" * 50_000)
    assert html_of("> " * 5_000 + "x")
