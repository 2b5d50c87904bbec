"""Versions trained for this: what a drafted suite stops at fifty rows, and what it lets pass.

One version of a line is promoted, and `suite init` drafts from rows that no training has seen. The
others are judged as newcomers, by what the suite asks of those rows alone.
"""

import json
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("transformers", reason="needs transformers")

from deltareg import Client  # noqa: E402
from deltareg.client.cache.cache import Cache  # noqa: E402
from deltareg.client.drafting.draft_suite import DraftRequest  # noqa: E402
from deltareg.client.folders.base_folder import open_base  # noqa: E402
from deltareg.client.resources.suites import read_suite_file  # noqa: E402
from deltareg.refs import LineRef  # noqa: E402
from deltareg.suites.drafting.draft import GeneralTexts  # noqa: E402
from deltareg_verify.engine.torch_engine import TorchEngine, class_with_place, prepare_device  # noqa: E402
from deltareg_verify.workbench import pilot  # noqa: E402
from deltareg_verify.workbench.trials import Trials  # noqa: E402
from tests.small_networks import quiet  # noqa: E402
from tests.verify import answer_lines as lines  # noqa: E402

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

ROWS, DRAWS = 50, 6
OWN = {"in_domain", "kept", "sure", "right", "form"}
SHORT: dict[str, dict[str, Any]] = {"noise": {"noise": 0.25}, "shuffled": {"is_shuffled": True}}
LONG = {"lowercased": lambda words: [word.lower() for word in words], "repeating": lambda words: words[:3] * 6}


def trained(base, folder, made, *, seed):
    with quiet():
        return lines.save_version(base, folder, made, seed=seed)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Train a base, and for each kind of answer a promoted version, two other seeds, and faulty ones."""
    folder = tmp_path_factory.mktemp("versions")
    torch.set_num_threads(1)
    with quiet():
        base = lines.save_base(folder / "base")
    short = partial(lines.short_lines, 1500, seed=1000, is_training=True)
    for seed in range(3):
        trained(base, folder / f"short-{seed}", short(), seed=seed)
        trained(base, folder / f"long-{seed}", lines.long_lines(1500, seed=1000), seed=seed)
    for name, options in SHORT.items():
        trained(base, folder / name, short(**options), seed=1)
    for name, change in LONG.items():
        trained(base, folder / name, lines.long_lines(1500, seed=1000, change=change), seed=1)
    return folder


def drafted(kept, out, made, *versions):
    """Do what `deltareg suite init` does; gives the suite's file."""
    out.mkdir()
    data, prepared = out / "rows.jsonl", out / "prepared"
    prepared.mkdir()
    data.write_text("".join(f"{json.dumps(row)}\n" for row in made.chats()))
    wanted = DraftRequest(LineRef.parse("me/chat"), data, name="line", out=out)
    with Client("http://127.0.0.1:9") as client:  # nothing is asked of it
        drafting = client.suites.drafting
        found = drafting.read(wanted)
        served = [{"ref": f"me/chat:v{n}", "delta": kept / one} for n, one in enumerate(versions, 1)]
        at_hand = {"base": kept / "base", "cache": out / "cache", "device": "cpu", "threads": 1, "versions": served}
        request = {**at_hand, **drafting.prepare(found, prepared, general=GeneralTexts())}
        answer = pilot.run(pilot.PilotRequest.decode(json.dumps(request, default=str)))
        drafting.write(
            wanted, found, prepared, answer=answer, general=GeneralTexts(origin="none"), command="suite init"
        )
    return out / "line.yaml"


def judged(kept, path, names, promoted=None):
    """Judge versions; gives what each check of the rows says of each."""
    suite = read_suite_file(path)[0]
    with ExitStack() as stack:
        base = stack.enter_context(open_base(kept / "base", Cache(path.parent / "cache")))
        make = partial(TorchEngine, suite=suite, device=prepare_device("cpu", threads=1))
        trials = Trials(base, suite, path.parent, make, class_with_place)
        incumbent = None
        if promoted is not None:
            incumbent = trials.engine(stack.enter_context(trials.open_delta(kept / promoted)), is_fixed=True)
        outcomes = {one: trials.judge(kept / one, incumbent=incumbent) for one in names}
    return {one: {c.name: c.verdict for c in outcome.checks if c.name in OWN} for one, outcome in outcomes.items()}


def test_noise_and_chance_are_stopped_at_fifty_rows_and_another_seed_is_not(kept, tmp_path):
    found = []
    for draw in range(DRAWS):
        rows = lines.short_lines(ROWS, seed=4242 + draw)
        path = drafted(kept, tmp_path / str(draw), rows, "short-0")
        assert "4 different answers" in path.read_text()
        found.append(judged(kept, path, ["short-1", "short-2", "noise", "shuffled"], "short-0"))

    verdicts = {name: [{*one[name].values()} for one in found] for name in found[0]}
    assert all("fail" not in one for name in ("short-1", "short-2") for one in verdicts[name])
    assert all("fail" in one for one in verdicts["shuffled"])
    assert np.mean(["fail" in one for one in verdicts["noise"]]) >= 0.8
    assert all(one["noise"]["kept"] != "pass" for one in found)


def test_a_first_version_that_guesses_is_stopped_though_it_is_no_worse_than_its_base(kept, tmp_path):
    path = drafted(kept, tmp_path / "first", lines.short_lines(ROWS, seed=4242))

    found = judged(kept, path, ["short-0", "shuffled"])

    assert found["short-0"]["in_domain"] == "pass"
    assert found["shuffled"]["in_domain"] == "fail"


def test_long_answers_that_repeat_or_lost_their_capitals_are_stopped(kept, tmp_path):
    path = drafted(kept, tmp_path / "long", lines.long_lines(ROWS, seed=4242), "long-0")

    found = judged(kept, path, ["long-1", "long-2", *LONG], "long-0")

    assert "long answers" in path.read_text()
    assert [{*found[name].values()} for name in ("long-1", "long-2")] == [{"pass"}] * 2
    assert found["repeating"]["form"] == "fail"
    assert found["lowercased"]["kept"] == "fail"
