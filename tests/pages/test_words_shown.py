"""What templates write for a word of a list: they know every word that can come, before one does.

A template looks a word up in a map. The type checker sees no templates, so each look-up names here
what its word comes from; one that is not listed, or a word without an entry, fails.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest
from jinja2 import Environment, nodes

from deltareg import words

TEMPLATES = {
    path.name: Environment(autoescape=True).parse(path.read_text())
    for room in ("deltareg.pages", "deltareg.drawing", "deltareg_cli", "deltareg_verify")
    for path in sorted(Path(str(files(room))).rglob("*.jinja"))
}
LISTS = {
    name: frozenset(get_args(value))
    for name, value in vars(words).items()
    if get_args(value) and all(isinstance(word, str) for word in get_args(value))
}
STATES = {
    "Outcome": [
        "bisect page.verdicts",
        "bisect row.verdict",
        "channel now.verdict",
        "delta c.verdict",
        "delta row.verdict",
        "deltas row.newest.verdict",
        "home row.verdict",
        "promote row.verdict",
        "run r.verdict.verdict",
        "runs row.verdict.verdict",
        "verdicts verdict.verdict",
        "version e.outcome",
        "version v.verdict",
        "waive v.verdict",
    ],
    "CheckOutcome": ["diff one.verdict", "run row.verdict", "verdicts row.verdict"],
    "Drift": ["_channel a.drift", "fleet row.drift", "home row.drift"],
    "Light": ["rollback l.light"],
    "OperationState": ["upkeep row.state"],
    "ProofState": [
        "base b.proof",
        "bases row.proof",
        "forms row.proof",
        "run r.proof",
        "runs row.proof",
        "version v.proof",
    ],
    "RequestState": ["request r.state", "requests row.state"],
    "RevisionKind": ["channel r.kind", "home row.kind"],
    "RunState": [
        "_figures d.waits.state",
        "_figures d.run.state",
        "answers f.run.state",
        "run r.state",
        "runs row.state",
    ],
    "FormState": ["forms row.state"],
}
"""By list, the look-ups of a state: the template, and what it looks up."""
OWN = {"rollback word": {"ready", "not ready", "look first"}, "tokens state": {"revoked", "live", "stale", "gone"}}
"""Look-ups of words that are on no list, as the template or its page writes them."""
SHOWN_ELSE = {"drift": {"none"}}
"""Words that no template looks up by this name: `in step` stands for them, or nothing."""
DECISIONS = frozenset({"approve", "reject", "withdraw"})
LISTED = {where: name for name, all_of in STATES.items() for where in all_of}


def test_every_state_that_a_template_looks_up_has_a_look():
    found, missing = set[str](), list[str]()
    for file, tree in TEMPLATES.items():
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Getattr) and call.node.attr == "status":
                for each in _results(call.args[0]):
                    told = each.value if isinstance(each, nodes.Const) else f"{file.partition('.')[0]} {_path(each)}"
                    comes = {told} if isinstance(each, nodes.Const) else _words_of(told)
                    found.add(told)
                    missing += [f"{told}: {word}" for word in comes - looks().keys()]

    assert missing == []
    assert {*LISTED, *OWN} <= found  # else what is listed here is of the past


def test_every_look_has_a_tone_and_a_shape_that_is_drawn():
    icons = (Path(str(files("deltareg.pages"))) / "templates" / "icons.html.jinja").read_text()

    for word, (tone, shape, told) in looks().items():
        assert tone in {"ok", "bad", "warn", "info", "off"}, word
        assert f'id="i-{shape}"' in icons, word
        assert told, word


@pytest.mark.parametrize("file", TEMPLATES)
def test_a_map_of_a_template_that_is_indexed_holds_all_words_of_a_list(file):
    tree = TEMPLATES[file]
    named = {
        each.target.name: each.node
        for each in tree.find_all(nodes.Assign)
        if isinstance(each.target, nodes.Name) and isinstance(each.node, nodes.Dict)
    }
    for item in tree.find_all(nodes.Getitem):
        name = item.node.name if isinstance(item.node, nodes.Name) else ""
        asked = named.get(name, item.node)
        if isinstance(item.arg, nodes.Const) or not isinstance(asked, nodes.Dict) or name == "looks":
            continue
        keys = frozenset(str(pair.key.as_const()) for pair in asked.items)
        assert keys in {*LISTS.values(), DECISIONS}, f"{file}:{item.lineno} {sorted(keys)}"


def looks():
    """Return the looks of states, by word."""
    for each in TEMPLATES["parts.html.jinja"].find_all(nodes.Assign):
        if isinstance(each.target, nodes.Name) and each.target.name == "looks" and isinstance(each.node, nodes.Dict):
            return each.node.as_const()
    raise AssertionError("there are no looks")


def _words_of(told):
    if told in OWN:
        return OWN[told]
    assert told in LISTED, f"{told!r} is looked up: say under STATES of which list its words are"
    return LISTS[LISTED[told]] - SHOWN_ELSE.get(told.rpartition(".")[2], set())


def _results(node: nodes.Expr | None) -> Iterator[nodes.Expr]:
    """Yield what an expression may come to, without conditions."""
    if isinstance(node, nodes.CondExpr):
        yield from _results(node.expr1)
        yield from _results(node.expr2)
    elif isinstance(node, nodes.Or):
        yield from _results(node.left)
        yield from _results(node.right)
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "get":
        yield node.node.node
        yield from _results(node.args[1])
    elif node is not None:
        yield node


def _path(node: nodes.Expr) -> str:
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node)}.{node.attr}"
    assert isinstance(node, nodes.Name), node
    return node.name
