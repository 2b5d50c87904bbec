"""What a worker finds out, in a browser: asked for by a form, shown as it comes, escaped."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.pages.magnitude_map import change_map, overlap_map
from deltareg.wire.findings import ModuleDifference
from tests.pages.conftest import browser, word_of
from tests.pages.test_pages import LINE, Checked

ROWS = [
    ["model.layers.0.self_attn.q_proj.weight", 0.4, 0.9, 1.0, 1.1, 4, 4, 3.1, 3.2, 0.8, 1],
    ["model.layers.1.self_attn.q_proj.weight", 0.1, 0.99, 1.0, 1.0, 4, 4, 3.1, 3.2, 1.0, 1],
    ["model.layers.1.mlp.up_proj.weight", 1.0, 0.0, 0.0, 1.0, 0, 4, 0.0, 3.2, 0.0, 1],
    ["<img src=x onerror=alert(1)>", 0.0, 1.0, 1.0, 1.0, None, None, None, None, None, 3],
]
GENERAL = {
    "figures": [
        {
            "name": "perplexity <i>",
            "n": 14,
            "base": {"value": 20.0, "low": 18.0, "high": 23.0},
            "a": {"value": 21.0},
            "b": {"value": None},
            "change": {"value": 1.5, "low": 1.2, "high": 1.9},
        }
    ]
}
EVIL = "</textarea><script>alert(1)</script> \u202egnp.exe\nand a line"


def found_out(desk, run_id, document):
    """Let a run have ended with what a worker would send."""
    with write(desk.registry.engine) as conn:
        ended = sa.update(t.runs).where(t.runs.c.id == run_id)
        conn.execute(ended.values(state="done", finished_at=t.runs.c.created_at))
        kept = sa.update(t.run_results).where(t.run_results.c.run_id == run_id)
        conn.execute(kept.values(found=json.dumps(document).encode()))


def whole(answer):
    page = Checked()
    page.feed(answer.text)
    assert answer.status_code == 200, answer.text
    assert page.open == []
    return answer.text


def test_a_comparison_is_asked_for_and_drawn(desk, pages):
    form = {"word": word_of(pages), "a": "v1", "b": "v2"}
    asked = pages.post(f"{LINE}/diff/compare", data=form)
    figures = f"{LINE}/diff/figures?a=v1&b=v2"
    waits = whole(pages.get(figures))
    run_id = pages.get(f"{figures}&format=json").json()["differences"]["waits"]["id"]
    found_out(desk, run_id, {"modules": ROWS, "left_out": 2, "note": "<b>", "general": GENERAL})
    shown = whole(pages.get(figures))

    assert asked.headers["Location"] == f"{LINE}/diff?a=v1&b=v2"
    assert 'data-hx-trigger="every 3s"' in waits
    assert "every 3s" not in shown
    assert "layer 0, self_attn.q_proj: apart 0.4, cosine 0.90, overlap 0.80" in shown
    assert "layer 1, mlp.up_proj: changed by the second alone" in shown
    assert "<img src=x" not in shown
    assert "2 weights that differ less are left out" in shown
    assert "perplexity &lt;i&gt;" in shown
    assert '20 <span class="dim nowrap">[18, 23]</span>' in shown
    assert '\N{MULTIPLICATION SIGN}1.5 <span class="dim nowrap">[1.2, 1.9]</span>' in shown
    assert "no number" in shown
    assert pages.post(f"{LINE}/diff/compare", data=form).status_code == 303
    assert pages.get(f"{figures}&format=json").json()["differences"]["run"]["id"] == run_id
    assert "diff/figures?a=v1&amp;b=v2" in pages.get(f"{LINE}/diff?a=v1&b=v2").text
    assert 'name="a" value="v2"' in whole(pages.get(f"{LINE}/diff/figures?a=v2&b=v3"))


def test_a_comparison_of_an_older_worker_says_so_and_is_asked_for_anew(desk, pages):
    form = {"word": word_of(pages), "a": "v3", "b": "v1"}
    pages.post(f"{LINE}/diff/compare", data=form)
    figures = f"{LINE}/diff/figures?a=v3&b=v1"
    first = pages.get(f"{figures}&format=json").json()["differences"]["waits"]["id"]
    found_out(desk, first, {"modules": ROWS})
    old = whole(pages.get(figures))
    pages.post(f"{LINE}/diff/compare", data={**form, "again": "yes"})
    again = pages.get(f"{figures}&format=json").json()["differences"]["waits"]["id"]

    assert "did not run them on general text" in old
    assert 'name="again" value="yes"' in old
    assert again != first


def test_an_answer_says_how_it_was_asked_and_shows_the_prompt_as_it_was_given(desk, pages):
    form = {"word": word_of(pages), "a": "v1", "b": "v2", "tokens": "5", "seed": "", "prompt": "hi", "form": "chat"}
    place = pages.post(f"{LINE}/ask/act", data=form).headers["Location"]
    plain = {"text": "so", "tokens": 5, "is_over": False, "seconds": 0.1}
    nothing = {"text": "", "tokens": 0, "is_over": True, "seconds": 0.0}
    answers = [
        {"side": "base", **nothing, "why": "no chat template <b>"},
        {"side": "a", **plain, "template": "version", "given": f"<s>{EVIL}", "given_tokens": 7, "is_cut": True},
        {"side": "b", **nothing, "given": "x", "classes": [{"name": "<i>sour", "share": 0.75}]},
    ]
    found_out(desk, place.rpartition("/")[2], {"answers": answers})

    shown = whole(pages.get(place))

    assert pages.get(f"{place}?format=json").json()["found"]["form"] == "chat"
    assert "no chat template &lt;b&gt;" in shown
    assert "Asked in a chat, by the template that it brings, of which it takes a part" in shown
    assert "&lt;s&gt;&lt;/textarea&gt;&lt;script&gt;" in shown
    assert "<script>alert" not in shown
    assert ("&lt;i&gt;sour" in shown, '<td class="num" data-label="Share">0.75</td>' in shown) == (True, True)
    assert 'name="form"' in whole(pages.get(f"{LINE}/ask?a=v1"))


def test_a_prompt_is_answered_side_by_side_for_who_asked(desk, pages):
    form = {"word": word_of(pages), "a": "v1", "b": "v2", "tokens": "5", "seed": "", "prompt": EVIL}
    asked = pages.post(f"{LINE}/ask/act", data=form)
    place = asked.headers["Location"]
    waits = whole(pages.get(place))
    answers = [
        {"side": side, "text": f"{side} {EVIL}", "tokens": 5, "is_over": False, "seconds": 0.1}
        for side in ("base", "a", "b")
    ]
    found_out(desk, place.rpartition("/")[2], {"answers": answers})
    shown = whole(pages.get(place))

    assert "comes here by itself" in waits
    assert "<script>alert" not in waits + shown
    assert "\u202e" not in shown
    assert shown.count("&lt;script&gt;alert(1)") == 4
    assert f"{LINE}/ask?a=v1&amp;b=v2" in shown
    with browser(desk, desk.token("read", "push", principal="other")) as other:
        assert other.get(place).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"prompt": "x" * 8_001}, 422),
        ({"prompt": "a\0b"}, 422),
        ({"prompt": " \n"}, 422),
        ({"prompt": "\x1b[2J"}, 422),
        ({"tokens": "257"}, 422),
        ({"a": "v9"}, 404),
        ({"b": "v1"}, 422),
        ({"word": "wrong"}, 403),
        ({"seed": "x"}, 422),
        ({"form": "song"}, 422),
    ],
)
def test_what_cannot_be_asked_is_told(pages, changes, status):
    form = {"word": word_of(pages), "a": "v1", "b": "", "tokens": "5", "seed": "", "prompt": "hi"}

    answer = pages.post(f"{LINE}/ask/act", data=form | changes)

    assert answer.status_code == status, answer.text


def test_a_map_has_steps_and_one_cell_for_what_is_in_one_place():
    names = ModuleDifference.model_fields
    modules = [ModuleDifference.model_validate(dict(zip(names, row, strict=True))) for row in ROWS]
    experts = [
        ModuleDifference(
            module=f"model.layers.3.experts.{n}.w.weight", relative_norm=0.5 - n / 10, norm_a=1.0, norm_b=1.0
        )
        for n in range(4)
    ]

    change, overlap = change_map([*modules, *experts]), overlap_map(modules)

    cells = {cell.told: cell.style for row in change.rows for cell in row.cells}
    assert (change.low, change.high) == (0.1, 0.5)
    assert cells["layer 1, self_attn.q_proj: apart 0.1, cosine 0.99, overlap 1.00"] == "h0"
    assert cells["layer 3, experts.*.w: apart 0.5, the most of 4 weights"] == "h8"
    assert cells["layer 1, mlp.up_proj: changed by the second alone"] == "added"
    assert overlap is not None
    assert [cell.style for row in overlap.rows for cell in row.cells] == ["h7", "h8"]
    assert overlap_map(experts) is None
