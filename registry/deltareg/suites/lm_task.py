"""A task of lm-eval with its data, as a suite contains it, and a check's options for it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from deltareg.documents.json_values import is_list, is_object, parse_json
from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import InvalidInput
from deltareg.suites.lm_task_document import check_task, data_files, filters_of, metrics_of, output_type, refuse
from deltareg.suites.suite import CheckSpec

Row = Mapping[str, object]
Fields = Mapping[str, object]

_MOST_ROWS = 100_000
_FROM_TASK, _ONLY = "task", "only"  # what stands where a suite does not say
_FIELD = re.compile(r"[A-Za-z_]\w*")
_TEMPLATE_FIELD = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)")
_NO_FIELDS = {"not", "true", "false", "none", "True", "False", "None", "range", "dict", "namespace"}


@dataclass(frozen=True, slots=True)
class LmTask:
    """A task.

    Attributes:
        name: Its own name.
        fields: The fields of its file.
        files: Names of its data files by split.
        metrics: Its metrics: by name, their aggregation and whether more is better.
        filters: The filters that answers pass before they count.
        rows: Its rows by split; empty before they are read.
    """

    name: str
    fields: Fields
    files: Mapping[str, tuple[str, ...]]
    metrics: Mapping[str, tuple[str, bool]]
    filters: tuple[str, ...]
    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict[str, tuple[Row, ...]])

    @property
    def file_names(self) -> tuple[str, ...]:
        """Its files, each once."""
        return tuple(dict.fromkeys(name for names in self.files.values() for name in names))

    @property
    def tested(self) -> str:
        """The split that is evaluated."""
        return str(self.fields.get("test_split") or self.fields.get("validation_split"))


@dataclass(frozen=True, slots=True)
class LmEvalOptions:
    """A check's options for a task.

    Attributes:
        metric: The metric.
        aggregation: How lm-eval aggregates its samples.
        filter: The filter that answers pass before they count.
        limit: How many rows are evaluated, from the first on.
        num_fewshot: How many solved rows precede each.
    """

    metric: str
    aggregation: str
    filter: str
    limit: int
    num_fewshot: int


def read_task(raw: bytes, what: str) -> LmTask:
    """Read a task's file, without its data.

    Args:
        raw: The file.
        what: Its name, for messages.

    Raises:
        InvalidInput: It is not a task that a suite may contain; the message names the key.
    """
    fields = read_yaml(raw, what=f"task {what}")
    check_task(fields, what)
    files = data_files(fields, what)
    for key in ("training_split", "validation_split", "test_split", "fewshot_split"):
        if fields.get(key) is not None and str(fields[key]) not in files:
            refuse(what, f"{key} is one of {', '.join(files)}, not {fields[key]!r}")
    if not fields.get("test_split") and not fields.get("validation_split"):
        refuse(what, "needs test_split or validation_split: which of the data is asked")
    return LmTask(str(fields["task"]), fields, files, metrics_of(fields, what), filters_of(fields, what))


def fill_task(task: LmTask, read: Callable[[str], bytes]) -> LmTask:
    """Read a task's data.

    Args:
        task: As `read_task` gave it.
        read: Reads a file beside the task.

    Raises:
        InvalidInput: A file is not rows of JSON, or lacks a field of the task's templates.
    """
    rows: dict[str, tuple[Row, ...]] = {
        split: tuple(row for name in names for row in _rows(read(name), name)) for split, names in task.files.items()
    }
    first = next(iter(rows[task.tested]))
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        _check_fields(task.fields.get(key), first, f"task {task.name}: {key}")
    return replace(task, rows=rows)


def asked_of(spec: CheckSpec, task: LmTask) -> LmEvalOptions:
    """Return a check's options for a task with its data.

    Raises:
        InvalidInput: A parameter does not fit the task; the message names it.
    """
    where, parameters = f"check {spec.name}", spec.parameters
    metric, way = str(parameters["metric"]), str(parameters["filter"])
    if metric not in task.metrics:
        refuse(where, f"{task.name} reports {', '.join(task.metrics)}, not {metric}")
    if way not in task.filters and (way != _ONLY or len(task.filters) > 1):
        refuse(where, f"filter is one of {', '.join(task.filters)}, not {way!r}")
    aggregation, greater = task.metrics[metric]
    if spec.threshold is not None and spec.threshold.greater_is_better != greater:
        word = "more" if greater else "less"
        refuse(where, f"of {metric}, {word} is better: greater_is_better: {str(greater).lower()}")
    limit = _count(parameters["limit"], f"{where}: limit")
    count = len(task.rows[task.tested])
    shots = _shots(parameters["num_fewshot"], task, where)
    used = way if way in task.filters else next(iter(task.filters))
    return LmEvalOptions(metric, aggregation, used, min(limit or count, count), shots)


def _shots(given: str | int, task: LmTask, where: str) -> int:
    value = task.fields.get("num_fewshot") or 0 if given == _FROM_TASK else given
    shots = _count(value, f"{where}: num_fewshot")
    if output_type(task.fields) == "loglikelihood_rolling" or not shots:
        return 0
    source = _source_of_shots(task)
    if source is None:
        refuse(where, f"{task.name} has no rows for {shots} few shots but those that it asks; add a fewshot_split")
    if shots >= len(source):
        refuse(where, f"{task.name} has {len(source)} rows for {shots} few shots, too few")
    return shots


def _source_of_shots(task: LmTask) -> tuple[object, ...] | None:
    """Return the rows that few-shot examples are drawn from; None if that would reveal the answer."""
    fields, config = task.fields, task.fields.get("fewshot_config")
    own: Fields = config if is_object(config) else {}
    split_name, samples = own.get("split", fields.get("fewshot_split")), own.get("samples")
    if split_name is None and is_list(samples):
        return tuple(samples)
    split = split_name or fields.get("training_split") or fields.get("validation_split")
    is_left_out = split_name == fields.get("test_split")  # lm-eval's rule, where both may be missing
    if split is None or (split == task.tested and not is_left_out):
        return None
    return task.rows.get(str(split))


def _rows(raw: bytes, name: str) -> list[Row]:
    try:
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: {error}", fix="save it as UTF-8") from error
    rows = [_row(line, f"{name}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not 0 < len(rows) <= _MOST_ROWS:
        refuse(name, f"has {len(rows)} rows, not 1 to {_MOST_ROWS}")
    keys = rows[0].keys()
    odd = next((n for n, row in enumerate(rows, 1) if row.keys() != keys), None)
    if odd is not None:
        key = min(rows[odd - 1].keys() ^ keys)
        refuse(name, f"row {odd} and the first differ in the field {key!r}")
    return rows


def _row(line: str, where: str) -> Row:
    try:
        item: object = parse_json(line)
    except ValueError as error:
        raise InvalidInput(f"{where}: not valid JSON: {error}", fix="a row is an object") from error
    if not is_object(item) or not item:
        refuse(where, "a row is an object with fields")
    return item


def _check_fields(template: object, row: Row, where: str) -> None:
    """Refuse a field that no row has: lm-eval would take its name for the text itself."""
    if not isinstance(template, str):
        return
    names = _TEMPLATE_FIELD.findall(template) if "{%" not in template else []
    fields = [template] if _FIELD.fullmatch(template) else names
    lost = next((name for name in fields if name not in row and name not in _NO_FIELDS), None)
    if lost is not None:
        refuse(where, f"no row has the field {lost!r}; there are {', '.join(row)}")


def _count(value: object, where: str) -> int:
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if count < 0:
        refuse(where, f"is a whole number from 0 on, not {value!r}")
    return count
