"""The check lm_eval on real networks: the harness's own adapter gives the same, to rounding."""

import copy
import json
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from deltareg.suites.lm_task import fill_task, read_task
from deltareg.suites.lm_task_document import METRICS
from deltareg.suites.suite import read_suite
from deltareg_verify.judging.examine import examine
from tests.verify.bench import SAMPLES, Bench, listed, sample_base, sample_bench
from tests.verify.plain_engine import PlainEngine
from tests.verify.series import EXAMPLE

pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'deltareg[lm-eval]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the harness and what it imports

SERIES = fill_task(
    read_task((EXAMPLE / "series.yaml").read_bytes(), "series.yaml"), lambda name: (EXAMPLE / name).read_bytes()
)
LONG = "The registry keeps every version, and every version keeps its base. " * 12
PAIRS = [
    ("Go on: 3, 5, 7,", " 9"),
    ("Go on: 3, 5, 7,", " 11"),
    ("A space after: ", "word"),
    ("", "Nothing before it."),
    ("The lora", "s of it"),
    (LONG, " the end"),
    ("x", " " + LONG[:90]),
]
NETWORKS = ["tinyllama/lora_qv", "tinygpt2/lora", "marked"]


def request(*args):
    return SimpleNamespace(args=args)


def requests(pairs):
    return [request(*pair) for pair in pairs]


def marked(folder):
    """Copy a base, with a tokenizer that puts a mark before every text, as Llama's does."""
    shutil.copytree(sample_base("tinyllama"), folder)
    file = folder / "tokenizer.json"
    told = json.loads(file.read_text())
    mark = next(one for one in told["added_tokens"] if one["id"] == 0)["content"]
    told["post_processor"] = {
        "type": "TemplateProcessing",
        "pair": [],
        "single": [{"SpecialToken": {"id": mark, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {mark: {"id": mark, "ids": [0], "tokens": [mark]}},
    }
    file.write_text(json.dumps(told))
    named = folder / "tokenizer_config.json"
    named.write_text(json.dumps(json.loads(named.read_text()) | {"bos_token": mark}))
    return folder


@pytest.fixture(params=NETWORKS)
def both(request, cache_dir, tmp_path):
    """Give our adapter over a sample, and the harness's own over peft's network of it."""
    from lm_eval.models.huggingface import HFLM
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from deltareg_verify.judging.lm_harness.network import EngineNetwork

    is_marked = request.param == "marked"
    entry = listed("deltas")["tinyllama/lora_qv" if is_marked else request.param]
    base = marked(tmp_path / "base") if is_marked else sample_base(entry["base"])
    engine = Bench(SAMPLES / entry["path"], base, cache_dir).engine()
    live = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), SAMPLES / entry["path"])
    theirs = HFLM(pretrained=live.eval(), tokenizer=AutoTokenizer.from_pretrained(base), device="cpu", batch_size=1)
    return EngineNetwork(engine, "attached", engine.tokenizer()), theirs


def test_a_continuation_is_as_likely_as_the_harness_says(both):
    ours, theirs = both

    found = ours.loglikelihood(requests(PAIRS))
    expected = theirs.loglikelihood(requests(PAIRS), disable_tqdm=True)

    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert [one for one, _ in found] == pytest.approx([one for one, _ in expected], abs=1e-4)


def test_a_whole_text_is_as_likely_as_the_harness_says(both):
    ours, theirs = both
    texts = [request(text) for text in ("One.", "A text of two words, or more.", LONG)]

    found = ours.loglikelihood_rolling(texts)

    assert found == pytest.approx(theirs.loglikelihood_rolling(texts, disable_tqdm=True), abs=1e-4)


def test_what_is_written_is_what_the_harness_writes(both):
    ours, theirs = both
    options = [{"until": ["\n"], "max_gen_toks": 12}, {"until": [" ", "e"], "max_gen_toks": 9}]
    texts = [request(text, made) for made in options for text in ("Go on: 3, 5,", "The", LONG)]

    found = ours.generate_until(copy.deepcopy(texts))

    assert found == theirs.generate_until(copy.deepcopy(texts), disable_tqdm=True)


@pytest.fixture
def no_network(monkeypatch):
    """Let nothing be reached over a socket."""

    def refuse(*_, **__):
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def engine(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir).engine()


@pytest.fixture
def find(cache_dir, engine):
    """Run the check on a task, with parameters and keys of its own."""

    def run(task, parameters, *, seed=1234, keys="", engine=engine, promoted=None):
        check = f"{{check: lm_eval, probes: t, parameters: {{{parameters}}}{keys}}}"
        text = f"name: a\nseed: {seed}\nsets: {{t: {{file: t.yaml}}}}\nchecks: [{check}]"
        case = sample_bench("tinyllama/lora_qv", cache_dir).case(
            task=lambda _: task, engine=lambda _: engine, promoted=None if promoted is None else lambda _: promoted
        )
        case.suite = read_suite(text.encode())
        (result,) = examine(case)
        return result

    return run


def task_of(rows=None, **changes):
    """Make a task of 24 rows: a word, what it is asked about it, and which answer is right."""
    words = ["red", "blue", "green", "grey", "pink", "black"] * 4
    plain = [
        {
            "word": word,
            "other": words[n - 1],
            "same": int(word == words[n - 1]),
            "n": n % 2,
            "said": f"{word} and {words[n - 1]} are two words, not one and the same",
        }
        for n, word in enumerate(words)
    ]
    fields = {
        "task": "words",
        "dataset_path": "json",
        "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": "words.jsonl"}},
        **changes,
    }
    task = read_task(json.dumps(fields).encode(), "words.yaml")
    raw = "".join(json.dumps(row) + "\n" for row in plain if rows is None or row["n"] in rows)
    return fill_task(task, lambda _: raw.encode())


ASKS: dict[str, dict[str, object]] = {
    "multiple_choice": {"doc_to_text": "{{word}} or", "doc_to_choice": ["no", " yes"], "doc_to_target": "n"},
    "loglikelihood": {"doc_to_text": "{{word}} and", "doc_to_target": " {{other}}"},
    "loglikelihood_rolling": {"doc_to_text": "", "doc_to_target": "said"},
    "generate_until": {
        "doc_to_text": "{{word}} and",
        "doc_to_target": "said",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    },
}
ALL_METRICS = [(output, metric) for output, known in METRICS.items() for metric in known]


@pytest.mark.parametrize(("output", "metric"), ALL_METRICS)
def test_every_metric_works_offline(output, metric, find, no_network):
    task = task_of(output_type=output, metric_list=[{"metric": metric}], **ASKS[output])

    result = find(task, f"metric: {metric}")

    assert result.verdict == "pass", result.detail
    assert np.isfinite([result.value, result.baseline]).all()
    assert "n = 24" in result.detail


def test_it_gives_what_lm_eval_gives_by_its_own_means(find, tmp_path, monkeypatch):
    """The same file, read by the harness itself, with its own adapter and its own few shots."""
    import datasets
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = sample_base("tinyllama")
    live = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), SAMPLES / "deltas/tinyllama/lora_qv")
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    known = TaskManager(include_path=str(EXAMPLE), include_defaults=False)
    network = HFLM(pretrained=live.eval(), tokenizer=AutoTokenizer.from_pretrained(base), device="cpu")

    theirs = simple_evaluate(network, tasks=["series"], task_manager=known, bootstrap_iters=0)
    ours = {metric: find(SERIES, f"metric: {metric}").value for metric in ("acc", "acc_norm")}

    assert ours == {metric: pytest.approx(theirs["results"]["series"][f"{metric},none"], rel=1e-5) for metric in ours}


def test_a_version_is_compared_with_the_base_row_by_row(find):
    result = find(SERIES, "metric: acc", keys=", threshold: {min_absolute_change: 0.5}")

    assert (result.verdict, result.code) == ("fail", "worse_than_base")
    assert f"the base has {result.baseline:.4g}; paired with it" in result.detail


def test_a_version_is_compared_with_the_promoted_one(find, engine, cache_dir):
    other = sample_bench("tinyllama/lora", cache_dir).assessment.account.effects
    keys = ", against: promoted, threshold: {min_absolute_change: -0.2}"

    same = find(SERIES, "metric: acc", keys=keys, promoted=engine)
    beside = find(SERIES, "metric: acc", keys=keys, promoted=engine.beside(other))

    assert same.value == same.baseline
    assert beside.value == same.value
    assert "the promoted version has" in beside.detail
    assert find(SERIES, "metric: acc", keys=keys).verdict == "n/a"


def test_an_answer_is_read_by_the_filter_that_is_named(find):
    number = {"function": "regex", "regex_pattern": "(@[0-9]+)", "fallback": "nothing"}
    ways = [
        {"name": "as-it-is", "filter": [{"function": "take_first"}]},
        {"name": "numbers", "filter": [number, {"function": "take_first"}]},
    ]
    asks = ASKS["generate_until"] | {"doc_to_target": "nothing{{''}}"}
    task = task_of(output_type="generate_until", filter_list=ways, **asks)

    found = {name: find(task, f"metric: exact_match, filter: {name}").value for name in ("as-it-is", "numbers")}

    assert found == {"as-it-is": 0, "numbers": 1}


def test_few_shots_are_drawn_by_the_suites_seed(find):
    values = {find(SERIES, "metric: acc_norm, num_fewshot: 4", seed=seed).detail for seed in (1, 2, 1)}

    assert len(values) == 2


def test_a_template_does_not_reach_python(find):
    asks = ASKS["multiple_choice"] | {"doc_to_text": "{{ ''.__class__.__mro__ }}"}

    result = find(task_of(output_type="multiple_choice", **asks), "metric: acc")

    assert result.verdict == "skipped"
    assert "SecurityError" in result.detail


def test_a_text_of_no_tokens_is_told(find):
    asks = ASKS["multiple_choice"] | {"doc_to_choice": ["yes", ""], "target_delimiter": ""}

    result = find(task_of(output_type="multiple_choice", **asks), "metric: acc")

    assert result.verdict == "skipped"


def test_more_tokens_than_the_base_takes_are_told(find):
    asks = ASKS["generate_until"] | {"generation_kwargs": {"until": ["."], "max_gen_toks": 500}}

    result = find(task_of(output_type="generate_until", **asks), "metric: exact_match")

    assert result.verdict == "skipped"
    assert "500 tokens are to be written, and the base takes 128" in result.detail


def test_a_network_without_a_tokenizer_has_no_measure(find):
    silent = PlainEngine()

    assert find(SERIES, "metric: acc", engine=silent).verdict == "fail"
    assert find(SERIES, "metric: acc, missing: n/a", engine=silent).verdict == "n/a"


class Sick:
    """A network whose attached state gives no numbers."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def log_likelihoods(self, state, pairs):
        found = self._engine.log_likelihoods(state, pairs)
        return found * np.nan if state == "attached" else found


def test_likelihoods_that_are_no_numbers_answer_nothing(find, engine):
    keys = ", threshold: {threshold: 0.01}"

    result = find(SERIES, "metric: acc", keys=keys, engine=Sick(engine))

    assert result.verdict == "fail"
    assert np.isnan(result.value)
