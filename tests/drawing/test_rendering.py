"""Templates are filled so that nobody can forget to escape."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from lxml import etree

import deltareg
from deltareg.drawing.plots import HeatMap, PlotLine, heat_map, history, line_plot
from deltareg.drawing.rendering import MOST, render
from deltareg.drawing.sample_plots import draw_ranked_bars, interval
from tests.client.report_values import HOSTILE

ROOT = Path(deltareg.__file__).parent
TEMPLATES = sorted(ROOT.rglob("templates/*.jinja"))
ROOM = "tests.drawing"


def fill(text, **values):
    """Fill the template of these tests that writes a text in every place for one."""
    return render("places.html.jinja", room=ROOM, **({"text": text, "markup": ""} | values))


@pytest.mark.parametrize("text", [HOSTILE, "{{ 7 * 191 }}{% raw %}", "</title><img src=x>"])
def test_text_stays_text_in_every_place(text):
    page = etree.fromstring(fill(text))

    assert [element.tag for element in page.iter()] == ["page", "p", "i", "em"]
    assert dict(page.find("i").attrib).keys() == {"class"}
    assert "1337" not in "".join(page.itertext())


def test_text_is_cleaned_of_what_turns_or_hides_it():
    shown = fill("a\u202eb\x00c\x1b[31m\ud800")

    assert "<p>abc[31m</p>" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", shown)


def test_text_that_was_joined_with_markup_is_cleaned_all_the_same():
    assert "\u202e" not in fill("a\u202eb", markup=fill("x"))


def test_text_is_cut():
    shown = etree.fromstring(fill("x" * 1_000_000))

    assert len(shown.findtext("p")) == MOST


def test_markup_of_a_template_goes_into_another_one():
    page = etree.fromstring(fill("outer", markup=fill("<inner>")))

    assert page.findtext("em/page/p") == "<inner>"


def test_what_is_missing_is_told():
    with pytest.raises(UndefinedError, match="'markup' is undefined"):
        render("places.html.jinja", room=ROOM, text="x")


@pytest.mark.parametrize("value", [None, 1.5, True, object(), b"x", ["x"]])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(TypeError, match="a page shows text"):
        fill(value)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_does_not_turn_escaping_off_and_quotes_attributes(path):
    source = path.read_text(encoding="utf-8")

    assert "autoescape" not in source
    assert not re.search(r"\|\s*(safe|tojson|urlize|xmlattr)", source)
    told = re.sub(r"\{%.*?%\}", "", source, flags=re.S)
    assert not re.search(r"\s[\w:-]+\s*=\s*\{\{", told)  # within an address, quotes are around it


def test_templates_are_found():
    assert {path.name for path in TEMPLATES} > {"page.html.jinja", "plot.svg.jinja"}


PLOTS = {
    "heat map": lambda text: heat_map(HeatMap([text], [text], [[0.5]], text, text)),
    "lines": lambda text: line_plot([PlotLine(text, [1.0, 2.0], "b")], [text, text], label=text),
    "history": lambda text: history([(text, 1.0), (text, 2.0)], threshold=1.5, label=text),
    "ranked": lambda text: draw_ranked_bars([(text, 1.0), (text, 2.0)], label=text),
    "interval": lambda text: interval(0.5, 0.1, 0.9, none=0.0, label=text),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_well_formed_and_made_of_the_same_marks_whatever_its_words(name):
    plain, hostile = (etree.fromstring(PLOTS[name](text)) for text in ("word", HOSTILE))

    assert [e.tag for e in hostile.iter()] == [e.tag for e in plain.iter()]
    assert [sorted(e.keys()) for e in hostile.iter()] == [sorted(e.keys()) for e in plain.iter()]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_a_plot_has_only_places_that_are_numbers(number):
    plots = [
        heat_map(HeatMap(["r"], ["c", "d"], [[number, 1.0]], "l", "u")),
        line_plot([PlotLine("n", [number, 1.0], "b")], ["a", "b"], label="l"),
    ]

    for plot in plots:
        places = [v for e in etree.fromstring(plot).iter() for k, v in e.items() if k in "xyr"]
        assert all(re.fullmatch(r"-?\d+(\.\d)?", place) for place in places)
