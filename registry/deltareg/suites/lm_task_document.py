"""The fields that a task of lm-eval may have in a suite: nothing that runs or fetches.

The harness lets a task name Python code, download its data and metrics, and run a network's output.
A task of a suite consists of data beside it, templates, and metrics without dependencies.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import NoReturn

from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput

Fields = Mapping[str, object]

# By the task's output type: what it is reported by, how lm-eval brings samples together, and
# whether more of it is better.
METRICS: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "multiple_choice": {
        "acc": ("mean", True),
        "acc_norm": ("mean", True),
        "acc_bytes": ("mean", True),
        "acc_mutual_info": ("mean", True),
        "exact_match": ("mean", True),
        "f1": ("f1", True),
        "mcc": ("matthews_corrcoef", True),
        "brier_score": ("brier_score", False),
    },
    "loglikelihood": {"perplexity": ("perplexity", False), "acc": ("mean", True)},
    "loglikelihood_rolling": {
        "word_perplexity": ("weighted_perplexity", False),
        "byte_perplexity": ("weighted_perplexity", False),
        "bits_per_byte": ("bits_per_byte", False),
    },
    "generate_until": {
        "exact_match": ("mean", True),
        "bleu": ("bleu", True),
        "chrf": ("chrf", True),
        "chrf++": ("chrf++", True),
        "ter": ("ter", False),
    },
}
_OWN_METRICS = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}
_KEYS = {
    "task",
    "task_alias",
    "tag",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "fewshot_split",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "description",
    "target_delimiter",
    "fewshot_delimiter",
    "fewshot_config",
    "num_fewshot",
    "metric_list",
    "output_type",
    "generation_kwargs",
    "repeats",
    "filter_list",
    "should_decontaminate",
    "doc_to_decontamination_query",
    "gen_prefix",
    "metadata",
}
_REFUSED = {
    "process_docs": "is Python: write the rows as they are to be",
    "process_results": "is Python: choose a metric of lm-eval",
    "custom_dataset": "is Python: write the rows into files of JSON lines",
    "class": "is Python: write the task as YAML",
    "unsafe_code": "runs what the network wrote, which a verification never does",
    "include": "brings another file: write its keys into this one",
    "use_prompt": "is fetched from elsewhere: write the template into doc_to_text",
    "doc_to_image": "asks for pictures: a suite runs tasks of text alone",
    "doc_to_audio": "asks for sound: a suite runs tasks of text alone",
    "group": "is a group: let the suite name each of its tasks",
    "task_list": "is a list of tasks: let the suite name each of them",
}
_SHOT_KEYS = {
    "sampler",
    "split",
    "samples",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "gen_prefix",
    "fewshot_delimiter",
    "target_delimiter",
}
_SAMPLERS = ("default", "first_n")
_METRIC_KEYS = {"metric", "aggregation", "higher_is_better", "hf_evaluate"}
_EXACT_KEYS = {"ignore_case", "ignore_punctuation", "ignore_numbers", "regexes_to_ignore"}
_LENGTHS = {"max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"}
_FILTERS = {
    "regex",
    "regex_pos",
    "multi_choice_regex",
    "remove_whitespace",
    "take_first",
    "lowercase",
    "uppercase",
    "map",
}
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.jsonl")


def check_task(fields: Fields, what: str) -> None:
    """Refuse a task with a field or value that a suite's task may not have.

    Raises:
        InvalidInput: The message names the key and the right value.
    """
    for key in fields:
        if key in _REFUSED:
            refuse(what, f"{key} {_REFUSED[key]}")
        _check_key(key, _KEYS, what)
    name = fields.get("task")
    if not isinstance(name, str) or not name:
        refuse(what, "task is the name of the task")
    if fields.get("dataset_path") != "json":
        refuse(what, f"dataset_path is json, with data beside it, not {fields.get('dataset_path')}")
    output = output_type(fields)
    if output not in METRICS:
        refuse(what, f"output_type is one of {', '.join(METRICS)}, not {output!r}")
    if fields.get("repeats", 1) != 1:
        refuse(what, "repeats is 1: a network answers greedily, and the same each time")
    _check_generation(_object(fields.get("generation_kwargs", {}), f"{what}: generation_kwargs"))
    _check_shots(_object(fields.get("fewshot_config", {}), f"{what}: fewshot_config"), what)


def output_type(fields: Fields) -> str:
    """Return the output type of a task; lm-eval's own default when it names none."""
    return str(fields.get("output_type", "generate_until"))


def data_files(fields: Fields, what: str) -> dict[str, tuple[str, ...]]:
    """Return the names of a task's files by split.

    Raises:
        InvalidInput: It names none, or a name that is not a file beside it.
    """
    kwargs = _object(fields.get("dataset_kwargs", {}), f"{what}: dataset_kwargs")
    for key in kwargs:
        _check_key(key, {"data_files"}, f"{what}: dataset_kwargs")
    files = kwargs.get("data_files")
    by_split = files if is_object(files) else {"train": files}
    return {split: _names(value, what) for split, value in by_split.items()}


def metrics_of(fields: Fields, what: str) -> dict[str, tuple[str, bool]]:
    """Return a task's metrics: by name, the aggregation and whether more is better.

    Raises:
        InvalidInput: A metric is not lm-eval's own, or is set up in an unknown way.
    """
    output = output_type(fields)
    aggregations = METRICS[output]
    entries = fields.get("metric_list")
    if entries is None:
        return {name: aggregations[name] for name in _OWN_METRICS[output]}
    if not is_list(entries) or not entries:
        refuse(what, "metric_list is a list of metrics")
    return dict(_metric(_object(item, f"{what}: metric_list"), output, what) for item in entries)


def filters_of(fields: Fields, what: str) -> tuple[str, ...]:
    """Return the names of the filters that answers pass before they count; `none` for no filter.

    Raises:
        InvalidInput: One of them is not a plain step.
    """
    entries = fields.get("filter_list")
    if entries is None:
        return ("none",)
    if not is_list(entries) or not entries:
        refuse(what, "filter_list is a list of filters")
    return tuple(_filter(_object(item, f"{what}: filter_list"), what) for item in entries)


def refuse(where: str, what: str) -> NoReturn:
    """Refuse a task."""
    raise InvalidInput(f"{where}: {what}", fix="see docs/howto/suites.md, tasks of lm-eval")


def _metric(item: Fields, output: str, what: str) -> tuple[str, tuple[str, bool]]:
    name, aggregations = item.get("metric"), METRICS[output]
    if item.get("hf_evaluate"):
        refuse(what, f"{name} with hf_evaluate would be fetched from a hub; known: {_list(aggregations)}")
    if not isinstance(name, str) or name not in aggregations:
        refuse(what, f"{name!r} is no metric of {output} that runs offline; known: {_list(aggregations)}")
    for key in item:
        _check_key(key, _METRIC_KEYS | (_EXACT_KEYS if name == "exact_match" else set()), what)
    aggregation, greater = aggregations[name]
    if item.get("aggregation", aggregation) != aggregation:
        refuse(what, f"{name} is brought together by {aggregation}, not {item['aggregation']!r}")
    if item.get("higher_is_better", greater) != greater:
        refuse(what, f"of {name}, {'more' if greater else 'less'} is better; mend higher_is_better")
    return name, (aggregation, greater)


def _filter(item: Fields, what: str) -> str:
    name, steps = item.get("name"), item.get("filter")
    if not isinstance(name, str) or not is_list(steps) or not steps:
        refuse(what, "a filter has a name, and a list of steps in `filter`")
    for step in steps:
        function = _object(step, f"{what}: filter {name}").get("function")
        if not isinstance(function, str) or function not in _FILTERS:
            refuse(what, f"filter {name}: {function!r} is no plain step; known: {_list(_FILTERS)}")
    return name


def _check_generation(given: Fields) -> None:
    where = "generation_kwargs"
    for key, value in given.items():
        if key == "do_sample" and value is not False:
            refuse(where, "do_sample is false: a network answers greedily")
        if key == "temperature" and value != 0:
            refuse(where, "temperature is 0: a network answers greedily")
        if key in _LENGTHS and (not is_count(value) or not value):
            refuse(where, f"{key} is a whole number from 1 on, not {value!r}")
        _check_key(key, {"until", "do_sample", "temperature", *_LENGTHS}, where)


def _check_shots(given: Fields, what: str) -> None:
    where = f"{what}: fewshot_config"
    for key in given:
        if key in _REFUSED:
            refuse(where, f"{key} {_REFUSED[key]}")
        _check_key(key, _SHOT_KEYS, where)
    if given.get("sampler", "default") not in _SAMPLERS:
        refuse(where, f"sampler is one of {', '.join(_SAMPLERS)}")
    samples = given.get("samples", [])
    if not is_list(samples) or not all(is_object(item) for item in samples):
        refuse(where, "samples is a list of rows")


def _names(value: object, what: str) -> tuple[str, ...]:
    names = value if is_list(value) and value else [value]
    for name in names:
        if not isinstance(name, str) or not _FILE.fullmatch(name):
            refuse(what, f"dataset_kwargs.data_files names .jsonl files beside it, not {name!r}")
    return tuple(str(name) for name in names)


def _object(value: object, where: str) -> Fields:
    if not is_object(value):
        refuse(where, "is a mapping of keys to values")
    return value


def _check_key(key: str, known: set[str], where: str) -> None:
    if key not in known:
        near = get_close_matches(key, known, n=1)
        refuse(
            where,
            f"has no key {key!r}; did you mean {near[0]!r}?" if near else f"has no key {key!r}; known: {_list(known)}",
        )


def _list(names: Mapping[str, object] | set[str]) -> str:
    return ", ".join(sorted(names))
