"""Asks a network a task by lm-eval, and returns the result of each row.

Nothing is fetched and nothing of the task is run: rows stand in memory, templates run in jinja's
sandbox, and likelihoods come from the engine.
"""

# The harness is optional: with it its types are partly known, without it they are not.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false, reportUnknownLambdaType=false
# pyright: reportOptionalSubscript=false, reportTypedDictNotRequiredAccess=false

import io
import logging
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import dataclass

import datasets
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import __version__, utils
from lm_eval.api.registry import get_aggregation
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate

from deltareg.suites.lm_task import LmEvalOptions, LmTask
from deltareg_verify.engine.engine import DeltaEngine, State, Tokenizer
from deltareg_verify.judging.lm_harness.network import EngineNetwork

_OWN_KEYS = {"dataset_kwargs", "dataset_name", "metadata", "tag"}  # of no use without a download


@dataclass(frozen=True, slots=True)
class LmAnswers:
    """The results of a network for a task.

    Attributes:
        values: For each row, what lm-eval keeps for the metric.
        aggregate: Aggregates these values, as lm-eval does.
        is_sane: Whether every likelihood is a number.
        version: The version of lm-eval.
    """

    values: Sequence[object]
    aggregate: Callable[[Sequence[object]], float]
    is_sane: bool
    version: str


def ask(
    engine: DeltaEngine, state: State, tokenizer: Tokenizer, *, task: LmTask, asked: LmEvalOptions, seed: int
) -> LmAnswers:
    """Run a task on one state of an engine.

    Args:
        engine: The engine that runs the network.
        state: The network's state.
        tokenizer: The engine's tokenizer.
        task: The task with its rows.
        asked: The requested part of it.
        seed: The seed of the few-shot examples.
    """
    _prepare()
    configured = ConfigurableTask(config=_config(task, asked))
    configured.set_fewshot_seed(seed)
    network = EngineNetwork(engine, state, tokenizer)
    with redirect_stderr(io.StringIO()):  # progress bars
        results = evaluate(
            lm=network,
            task_dict={"tasks": {task.name: configured}, "groups": {}},
            limit=asked.limit,
            bootstrap_iters=0,
            log_samples=True,
        )
    samples = [one for one in results["samples"][task.name] if one["filter"] == asked.filter]
    values = [one[asked.metric] for one in sorted(samples, key=lambda one: int(one["doc_id"]))]
    return LmAnswers(values, get_aggregation(asked.aggregation), network.is_sane, __version__)


def _prepare() -> None:
    """Silence the harness, and keep its templates from reaching Python."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if isinstance(utils.env, ImmutableSandboxedEnvironment):
        return
    safe = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    safe.filters["regex_replace"] = utils.regex_replace
    utils.env = safe


def _config(task: LmTask, asked: LmEvalOptions) -> dict[str, object]:
    """Return the task's config for lm-eval, with rows in memory in place of file names."""
    fields = {key: value for key, value in task.fields.items() if key not in _OWN_KEYS}
    rows = {
        split: datasets.Dataset.from_list([dict(row) for row in split_rows]) for split, split_rows in task.rows.items()
    }
    config = deepcopy(fields) | {"custom_dataset": lambda **_: rows, "num_fewshot": asked.num_fewshot}
    if "metric_list" not in config:
        config["metric_list"] = [{"metric": name} for name in task.metrics]
    return config
