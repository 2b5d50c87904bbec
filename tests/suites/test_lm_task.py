"""Tasks of lm-eval as suites bring them: what is read, and what is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.errors import InvalidInput
from deltareg.suites.lm_task import asked_of, fill_task, read_task
from deltareg.suites.suite import read_suite

TASK = {
    "task": "even",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "even.jsonl", "shots": "shots.jsonl"}},
    "test_split": "test",
    "fewshot_split": "shots",
    "output_type": "multiple_choice",
    "doc_to_text": "Is {{number}} even?",
    "doc_to_choice": ["no", "yes"],
    "doc_to_target": "label",
}
ROWS = "".join(json.dumps({"number": n, "label": 1 - n % 2}) + "\n" for n in range(30))


def read(**changes):
    fields = {key: value for key, value in (TASK | changes).items() if value is not None}
    return read_task(json.dumps(fields).encode(), "even.yaml")


def filled(rows=ROWS, **changes):
    return fill_task(read(**changes), lambda _: rows.encode())


def spec(parameters="", **keys):
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    check = f"{{check: lm_eval, probes: t, parameters: {{{parameters or 'metric: acc'}}}{more}}}"
    suite = read_suite(f"name: a\nsets: {{t: {{file: t.yaml}}}}\nchecks: [{check}]".encode())
    return suite.checks[0]


def test_a_task_says_what_it_reports_and_which_files_it_reads():
    task = filled()

    assert task.file_names == ("even.jsonl", "shots.jsonl")
    assert task.metrics == {"acc": ("mean", True), "acc_norm": ("mean", True)}
    assert (task.tested, len(task.rows["test"])) == ("test", 30)


def test_a_check_asks_as_the_task_says_unless_it_says_otherwise():
    task = filled(num_fewshot=2)

    asked = asked_of(spec(), task)

    assert (asked.metric, asked.filter, asked.limit, asked.num_fewshot) == ("acc", "none", 30, 2)
    assert asked_of(spec("metric: acc, num_fewshot: 0, limit: 25"), task).num_fewshot == 0
    assert asked_of(spec("metric: acc, limit: 25"), task).limit == 25
    assert asked_of(spec("metric: acc, limit: 99"), task).limit == 30


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("process_docs: !function code.process", "line 2, column 15: the tag !function: values"),
        ("process_docs: code.process", "process_docs is Python"),
        ("process_results: x", "process_results is Python"),
        ("custom_dataset: x", "custom_dataset is Python"),
        ("class: x", "class is Python"),
        ("unsafe_code: true", "unsafe_code runs what the network wrote"),
        ("include: _base_yaml", "include brings another file"),
        ("use_prompt: promptsource:x", "use_prompt is fetched from elsewhere"),
        ("doc_to_image: x", "doc_to_image asks for pictures"),
        ("group: mmlu", "group is a group"),
    ],
)
def test_what_runs_or_fetches_is_refused_by_name(line, said):
    with pytest.raises(InvalidInput, match=said):
        read_task(f"task: even\n{line}\n".encode(), "even.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": ["a", "b"]}, "task is the name"),
        ({"dataset_path": "super_glue"}, "dataset_path is json, .* not super_glue"),
        ({"dataset_kwargs": None}, "names .jsonl files beside it, not None"),
        ({"dataset_kwargs": {"data_dir": "x"}}, "has no key 'data_dir'"),
        ({"dataset_kwargs": {"data_files": "../x.jsonl"}}, "not '../x.jsonl'"),
        ({"dataset_kwargs": {"data_files": "https://x/y.jsonl"}}, "beside it, not 'https:"),
        ({"dataset_kwargs": {"data_files": {"test": "x.csv"}}}, "not 'x.csv'"),
        ({"output_type": "multiple_choices"}, "output_type is one of multiple_choice, "),
        ({"doc_to_texts": "x"}, "has no key 'doc_to_texts'; did you mean 'doc_to_text'"),
        ({"test_split": "tests"}, "test_split is one of test, shots, not 'tests'"),
        ({"test_split": None}, "needs test_split or validation_split"),
        ({"metric_list": [{"metric": "rouge"}]}, "'rouge' is no metric of multiple_choice that"),
        ({"metric_list": [{"metric": "f1", "hf_evaluate": True}]}, "would be fetched from a hub"),
        ({"metric_list": [{"metric": "acc", "aggregation": "median"}]}, "brought together by mean"),
        ({"metric_list": [{"metric": "acc", "higher_is_better": False}]}, "more is better"),
        ({"metric_list": [{"metric": "acc", "ignore_case": True}]}, "has no key 'ignore_case'"),
        ({"metric_list": []}, "metric_list is a list"),
        ({"filter_list": [{"name": "x", "filter": [{"function": "custom"}]}]}, "no plain step"),
        ({"filter_list": [{"name": "x"}]}, "a filter has a name, and a list of steps"),
        ({"generation_kwargs": {"do_sample": True}}, "do_sample is false"),
        ({"generation_kwargs": {"temperature": 0.7}}, "temperature is 0"),
        ({"generation_kwargs": {"num_beams": 4}}, "has no key 'num_beams'"),
        ({"generation_kwargs": {"max_gen_toks": 0}}, "max_gen_toks is a whole number from 1 on"),
        ({"repeats": 5}, "repeats is 1"),
        ({"fewshot_config": {"process_docs": "x"}}, "process_docs is Python"),
        ({"fewshot_config": {"sampler": "balanced"}}, "sampler is one of default, first_n"),
        ({"fewshot_config": {"samples": "x"}}, "samples is a list of rows"),
    ],
)
def test_a_task_that_is_wrong_is_told_where(changes, said):
    with pytest.raises(InvalidInput, match=said):
        read(**changes)


@pytest.mark.parametrize(
    ("rows", "changes", "said"),
    [
        ("", {}, "even.jsonl: has 0 rows"),
        ("nope\n", {}, "even.jsonl, line 1: not valid JSON"),
        ("[1]\n", {}, "line 1: a row is an object"),
        ('{"number": 1, "label": 0}\n{"number": 2}\n', {}, "row 2 and the first differ .* 'label'"),
        (ROWS, {"doc_to_target": "answer"}, "doc_to_target: no row has the field 'answer'"),
        (ROWS, {"doc_to_text": "Is {{ nummer }} even?"}, "the field 'nummer'; there are number, l"),
    ],
)
def test_data_that_is_wrong_is_told_where(rows, changes, said):
    with pytest.raises(InvalidInput, match=said):
        filled(rows, **changes)


LESS = {"threshold": "{threshold: 0.5, greater_is_better: false}"}
TWO_WAYS = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "filter_list": [{"name": name, "filter": [{"function": "take_first"}]} for name in "ab"],
}


@pytest.mark.parametrize(
    ("parameters", "keys", "changes", "said"),
    [
        ("metric: f1", {}, {}, "even reports acc, acc_norm, not f1"),
        ("metric: acc, filter: strict", {}, {}, "filter is one of none, not 'strict'"),
        ("metric: exact_match", {}, TWO_WAYS, "filter is one of a, b, not 'only'"),
        ("metric: acc, limit: -1", {}, {}, "limit: is a whole number from 0 on"),
        ("metric: acc, num_fewshot: many", {}, {}, "num_fewshot: is a whole number"),
        ("metric: acc, num_fewshot: 30", {}, {}, "30 rows for 30 few shots, too few"),
        ("metric: acc, num_fewshot: 1", {}, {"fewshot_split": None}, "no rows for 1 few shots but"),
        ("", LESS, {}, "of acc, more is better: greater_is_better: true"),
    ],
)
def test_a_check_that_does_not_fit_its_task_is_refused(parameters, keys, changes, said):
    with pytest.raises(InvalidInput, match=said):
        asked_of(spec(parameters, **keys), filled(**changes))


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 3),
        ({"fewshot_split": "test"}, 3),
        ({"fewshot_split": None, "training_split": "shots"}, 3),
        ({"fewshot_split": None, "test_split": None, "validation_split": "test"}, 3),
        ({"fewshot_split": None, "fewshot_config": {"samples": [{"number": 1}] * 5}}, 3),
        ({"output_type": "loglikelihood_rolling", "doc_to_choice": None}, 0),
    ],
)
def test_few_shots_come_from_where_they_do_not_tell_the_answer(changes, count):
    rolling = "output_type" in changes
    metric = "metric: word_perplexity" if rolling else "metric: acc"

    asked = asked_of(spec(f"{metric}, num_fewshot: 3"), filled(**changes))

    assert asked.num_fewshot == count


PLAIN = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False)
WORDS = st.text(max_size=5) | st.sampled_from(["test", "metric", "name", "filter", "acc", "label"])
JSON = st.recursive(
    PLAIN | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)
ACC, FEW = spec(), "".join(ROWS.splitlines(keepends=True)[:4])
KEYS = st.sampled_from(
    [
        "task",
        "dataset_kwargs",
        "test_split",
        "fewshot_split",
        "doc_to_text",
        "doc_to_target",
        "doc_to_choice",
        "metric_list",
        "filter_list",
        "fewshot_config",
        "generation_kwargs",
        "num_fewshot",
        "output_type",
        "repeats",
        "dataset_path",
    ]
)


@given(st.dictionaries(KEYS, JSON, max_size=3))
def test_whatever_stands_in_it_it_is_read_or_refused(changes):
    try:
        task = read_task(json.dumps(TASK | changes).encode(), "even.yaml")
        asked_of(ACC, fill_task(task, lambda _: FEW.encode()))
    except InvalidInput:  # and nothing else: no crash of ours on what is odd
        return
