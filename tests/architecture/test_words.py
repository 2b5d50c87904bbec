"""One word a thing: names of classes, verbs of functions, terms of the glossary."""

import ast
import re
from collections import Counter, defaultdict

import pytest

from tests.architecture.tree import REPOSITORY, SOURCE_ROOTS, modules

GLOSSARY = (REPOSITORY / "docs" / "glossary.md").read_text("utf-8")
TERM_LINES = [line for line in GLOSSARY.partition("## Verbs")[0].splitlines() if "**" in line]
TERMS = [term for line in TERM_LINES for term in re.findall(r"\*\*([^*]+)\*\*", line)]
FORBIDDEN = re.findall(r"\*([a-z]+)\*", GLOSSARY.partition("## Not used")[2])

# Past participles that do not end in -ed; those that are verbs as well (read, run, put, set) are none here.
IRREGULAR = set(  # a list of a hundred lines says no more
    """
    begun bent bitten born bought bound broken brought built caught chosen done drawn driven dug eaten
    fallen fed felt fought found flown forgotten frozen given gone grown heard held hidden hung kept known
    laid led left lent lit lost made meant met paid proven ridden risen said seen sent shaken shown slept
    sold sought spent spoken stolen stood struck stuck sung sunk sworn taken taught thought thrown told torn
    understood woken won worn woven written
    """.split()  # noqa: SIM905
)
VERBS = {"bleed", "embed", "exceed", "feed", "need", "proceed", "seed", "shed", "speed", "succeed"}
DICTATED = {  # names that somebody else's interface asks for, or that users read as data
    "registry/deltareg/integrations/fsspec.py: created",
    "registry/deltareg/integrations/fsspec.py: modified",
    "gpu_verify/deltareg_verify/workbench/faults/values.py: saturated",
}


def is_participle(name):
    return name in IRREGULAR or (name.endswith("ed") and "_" not in name and name not in VERBS)


def definitions(word):
    """Give path and name of all that reads like a definition, nested ones as well; to parse all takes seconds."""
    pattern = re.compile(rf"^ *(?:async )?{word} (\w+)[(:\[]", re.MULTILINE)
    return [(path, name) for path in modules() for name in pattern.findall((REPOSITORY / path).read_text("utf-8"))]


def functions(path):
    """Give the names of the functions of a module that are no properties."""
    tree = ast.parse((REPOSITORY / path).read_text("utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name for node in nodes if not any("property" in ast.unparse(d) for d in node.decorator_list)}


def test_no_two_public_classes_share_a_name():
    """But the settings of kinds, which nobody meets outside the file of one."""
    homes = defaultdict(list)
    for path, name in definitions("class"):
        is_kinds = path.parent.name == "kinds" and name in {"Settings", "NoSettings"}
        if not name.startswith("_") and not is_kinds:
            homes[name].append(str(path))

    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_a_function_is_a_verb_and_no_participle():
    """`told` says neither what is done nor what comes back; a property may be an adjective."""
    nameless = {
        f"{path}: {name}"
        for path, name in definitions("def")
        if is_participle(name.strip("_")) and name in functions(path)
    }

    assert nameless - DICTATED == set()
    assert nameless >= DICTATED


def test_each_term_of_the_glossary_is_defined_once():
    defined = Counter(TERMS)

    assert len(TERMS) > 100
    assert [term for term, times in defined.items() if times > 1] == []
    assert [line for line in TERM_LINES if not line.startswith("**")] == [], "a term begins its paragraph"


def test_no_term_of_the_glossary_is_forbidden_by_it():
    assert set(TERMS) & set(FORBIDDEN) == set()


@pytest.fixture(scope="module")
def text():
    """Give all that the product says: code, templates and docs, but for the glossary."""
    files = [
        *(REPOSITORY / path for path in modules()),
        *(path for root in SOURCE_ROOTS for path in (REPOSITORY / root).rglob("*.jinja")),
        *(path for path in (REPOSITORY / "docs").rglob("*.md") if path.name != "glossary.md"),
    ]
    return "\n".join(path.read_text("utf-8") for path in files).lower()


@pytest.mark.parametrize("term", TERMS)
def test_each_term_of_the_glossary_is_used(text, term):
    """As it stands, in the name of a function, of a class, or as an option."""
    assert any(term.lower().replace(" ", joint) in text for joint in (" ", "_", "", "-"))
