"""Regular expressions of a config: `re` is the oracle, and none of them takes long."""

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.delta.layouts.peft.patterns import LONGEST, MOST, Pattern, PatternBudget, ending_pattern, whole_pattern
from deltareg.errors import Refused

UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:q_proj|k_proj|v_proj|o_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attn|mlp)\."
    r"(?:(?:q_proj|k_proj|v_proj|o_proj)))"
)
SWIFT = r"^(language_model|aligner)(?=\.).*\.(?:q_proj|v_proj)$|^model(?=\.).*\.(k_proj|q_proj)$"
LLAMA_FACTORY = r"^(?!.*(?:visual|merger)).*(?:q_proj|k_proj|v_proj).*"
ATOMS = st.sampled_from(
    [
        "q_proj",
        "model",
        "layers",
        r"\.",
        ".",
        r"\d",
        r"\w",
        "[a-z]",
        "[^.]",
        "(?:",
        "(",
        ")",
        "|",
        "*",
        "+",
        "?",
        "{1,2}",
        "^",
        "$",
        r"\b",
        "(?=",
        "(?!",
        "(?<=",
        "(?i:",
        "(?P<n>",
        "(?P=n)",
        "\\Z",
        "{",
        "}",
        "]",
        "(?#",
        "(?>",
        "++",
    ]
)
NAMES = [
    "q_proj",
    "model.layers.0.self_attn.q_proj",
    "model.language_model.layers.1.mlp.up_proj",
    "layers.12",
    "model",
    "visual.blocks.3.attn.qkv",
    "language_model.layers.0.self_attn.q_proj",
    "",
]


def agrees(text, pattern, make):
    assert isinstance(pattern, Pattern), pattern
    assert [pattern.matches(name) for name in NAMES] == [make(text, name) for name in NAMES]


@pytest.mark.parametrize("text", [UNSLOTH, SWIFT, LLAMA_FACTORY, r".*layers\.[01]\..*q_proj"])
def test_what_tools_write_is_read_as_the_library_reads_it(text):
    agrees(text, whole_pattern(text, PatternBudget()), lambda t, n: re.fullmatch(t, n) is not None)
    agrees(text, ending_pattern(text, PatternBudget()), lambda t, n: re.match(rf"(.*\.)?({t})$", n) is not None)


@given(st.lists(ATOMS, min_size=1, max_size=8).map("".join))
def test_an_expression_is_read_as_the_library_reads_it_or_refused(text):
    pattern = whole_pattern(text, PatternBudget())

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(text)
    except (re.error, Warning):
        assert isinstance(pattern, str)
    else:
        if isinstance(pattern, Pattern):
            agrees(text, pattern, lambda t, n: re.fullmatch(t, n) is not None)


@pytest.mark.parametrize(
    "text",
    [
        "(abc){e<=2}",
        r"\p{L}+",
        "(?R)",
        "a{1,99999}",
        "(((((a?){9}){9}){9}){9}){9}",
        "[[:alpha:]]+",
        "(",
        "x" * (LONGEST + 1),
    ],
)
def test_what_the_two_would_read_differently_is_refused(text):
    assert isinstance(whole_pattern(text, PatternBudget()), str)


@pytest.mark.parametrize("text", ["((model|layers)*)*X", "(a+)+$", r"((\w|\.)+)+X", r"(\w+\s?)*X", "(.*)*(.*)*(.*)*X"])
@pytest.mark.timeout(30)  # `re` alone would go on for years
def test_a_wild_one_ends_soon(text):
    pattern = whole_pattern(text, PatternBudget())
    assert isinstance(pattern, Pattern)

    assert not any(pattern.matches(f"model.layers.{n}.{'a' * 60}.q_proj") for n in range(300))


@pytest.mark.timeout(30)
def test_what_takes_too_long_is_refused():
    pattern = whole_pattern("(.*a){25}X", PatternBudget())
    assert isinstance(pattern, Pattern)

    with pytest.raises(Refused, match="takes too long") as caught:
        any(pattern.matches(f"{'a' * 400}{layer}") for layer in range(100))

    assert caught.value.problem_code == "bad_config"


@pytest.mark.timeout(60)
def test_all_expressions_of_a_config_share_one_budget():
    budget = PatternBudget()
    patterns = [whole_pattern(f"(.*a){{25}}X{n}", budget) for n in range(MOST)]
    assert all(isinstance(pattern, Pattern) for pattern in patterns)

    with pytest.raises(Refused, match="takes too long"):
        any(p.matches("a" * 400) for p in patterns if isinstance(p, Pattern))

    assert isinstance(whole_pattern("one more", budget), str)
