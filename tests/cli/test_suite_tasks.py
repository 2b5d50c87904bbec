"""`suite init` and `suite backtest` on trained networks, as a new user does it, task by task."""

import csv
import time

import pytest

from tests.cli.steps import done

pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

AT_MOST_S = 300
TASKS = {"lm": ("llama", "lora all"), "classify": ("bert", "lora dense")}
MATERIAL = {"sign-turned", "never-trained", "scaled-up", "rows-exploded"}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Give one in which bases and deltas are trained once for all tests."""
    from tests.planted.workshop import Workshop

    return Workshop(tmp_path_factory.mktemp("tasks"))


def write_rows(task, path):
    """Write rows of the domain that deltas are tuned for, which no training has seen."""
    from tests.planted import data
    from tests.planted.bases import domain_probe

    words = data.vocabulary()
    probe = domain_probe(TASKS[task][0], "tuned", 300, seed=77)
    texts = [" ".join(words[at] for at in row) for row in probe["input_ids"].tolist()]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"] if task == "classify" else ["text"])
        labels = probe["labels"].tolist()
        rows.writerows([one, label] if task == "classify" else [one] for one, label in zip(texts, labels, strict=True))


@pytest.mark.soak
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("task", TASKS)
def test_a_suite_is_there_and_tried_in_minutes(user, workshop, task):
    from tests.planted.healthy import recipe
    from tests.planted.orders import Order

    base, name = TASKS[task]
    done(user, "base", "push", workshop.base(base), base)
    for seed in (500, 507):
        delta = workshop.delta(Order.of(recipe(name, base), seed))
        done(user, "push", delta / "delta", "me/mine", "--base", base)
    write_rows(task, user.home / "rows.csv")

    began = time.monotonic()
    drafted = user("suite", "init", "me/mine", "--data", "rows.csv", "--gpu", "cpu", "--json")
    tried = user("suite", "backtest", "me-mine-suite/me-mine.yaml", "me/mine", "--gpu", "cpu", "--json")
    took = time.monotonic() - began

    assert drafted.status == tried.status == 0, drafted.err + tried.err
    assert drafted.json["task"] == task
    assert tried.json["false_alarms"] == []
    assert tried.json["caught"] >= 10
    assert not MATERIAL & {*tried.json["missed"]}
    print(f"{task}: {took:.0f} s, missed {tried.json['missed_and_costly']}")
