"""What a training says of itself, and what it keeps to itself."""

import sys
from types import SimpleNamespace

import pytest

from deltareg.errors import InvalidInput
from deltareg.integrations.run_facts import find_run_url, labels_of, newest_metrics
from deltareg.service.lines.labels import check_labels


def labels(metrics, **own):
    return labels_of(step=7, epoch=None, metrics=metrics, run_url="", own=own)


def test_the_newest_of_each_measure_counts_and_speed_is_none():
    log: list[dict[str, object]] = [
        {"loss": 2.0, "step": 1, "epoch": 0.5, "learning_rate": 0.1, "grad_norm": 3.0},
        {"eval_loss": 1.5, "eval_runtime": 2.0, "eval_samples_per_second": 9.0, "step": 1},
        {"loss": 1.0, "step": 2, "is_best": True, "note": "text"},
        {"train_loss": 1.2, "total_flos": 1e9, "train_runtime": 5},
    ]

    assert newest_metrics(log) == {"loss": 1.0, "eval_loss": 1.5, "train_loss": 1.2}


@pytest.mark.parametrize("name", ["a=b", 'a"b', "a,b", "a\nb", "a\\b", "x" * 300])
def test_a_measure_of_an_odd_name_is_left_out_and_no_push_is_refused_for_it(name):
    found = labels({name: 1.0, "val/loss": 0.5, "f1 (macro)": 0.25})

    assert found == {"step": "7", "metric.val/loss": "0.5", "metric.f1_(macro)": "0.25"}
    check_labels(found)


def test_the_registry_would_refuse_such_a_name():
    with pytest.raises(InvalidInput):
        check_labels({"metric.a=b": "1"})


def test_a_thousand_measures_are_no_thousand_labels():
    found = labels({f"m{n}": float(n) for n in range(1000)}, team="a")

    assert len(found) == 42
    check_labels(found)


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "nan"), (1e-9, "1e-09"), (-0.5, "-0.5")])
def test_every_number_has_a_label(value, text):
    assert labels({"m": value})["metric.m"] == text


def test_the_tracker_that_is_active_is_asked_first(monkeypatch):
    ci = {"GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "o/r"}
    run = SimpleNamespace(info=SimpleNamespace(experiment_id="3", run_id="ab"))
    mlflow = SimpleNamespace(active_run=lambda: run, get_tracking_uri=lambda: "https://me:secret@ml.example/")
    asked = [find_run_url(ci)]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    asked.append(find_run_url(ci))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=SimpleNamespace(url="https://wandb.ai/a/b")))
    asked.append(find_run_url(ci))

    assert asked == [
        "https://github.com/o/r/actions/runs/7",
        "https://ml.example/#/experiments/3/runs/ab",
        "https://wandb.ai/a/b",
    ]


def test_a_tracker_that_is_offline_names_no_page(monkeypatch):
    run = SimpleNamespace(info=SimpleNamespace(experiment_id="3", run_id="ab"))
    local = SimpleNamespace(active_run=lambda: run, get_tracking_uri=lambda: "file:///mlruns")
    monkeypatch.setitem(sys.modules, "mlflow", local)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))

    assert find_run_url({}) == ""
