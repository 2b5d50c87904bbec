"""How far a Trainer had come is recorded with each checkpoint, and is the same when it goes on."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

from transformers import EarlyStoppingCallback  # noqa: E402

from deltareg.golden import GOLDEN_FILE, GoldenCallback  # noqa: E402
from deltareg.golden.kept_progress import KeptProgress  # noqa: E402
from deltareg.golden.rate import rate_left  # noqa: E402
from deltareg.suites.golden_file import decode  # noqa: E402
from deltareg.suites.training_progress import TrainingProgress  # noqa: E402
from tests.integrations.training import Rows, trainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
SAVING = {"save_strategy": "steps", "save_steps": 2}


def progress_at(folder, step):
    return decode((folder / f"checkpoint-{step}" / GOLDEN_FILE).read_bytes()).progress


def test_each_checkpoint_says_how_far_it_is(tmp_path):
    trainer(tmp_path, GoldenCallback(), max_steps=8, lr_scheduler_type="linear", **SAVING).train()

    assert progress_at(tmp_path, 2) == TrainingProgress(2, 8, 0.75)
    assert progress_at(tmp_path, 4) == TrainingProgress(4, 8, 0.5)
    assert progress_at(tmp_path, 8) == TrainingProgress(8, 8, 0.0)


@pytest.mark.soak
def test_of_a_constant_rate_any_step_may_be_the_last(tmp_path):
    run = trainer(tmp_path, GoldenCallback(), max_steps=8, lr_scheduler_type="constant", **SAVING)
    run.train()

    assert progress_at(tmp_path, 2) == TrainingProgress(2, 8, 1.0)


@pytest.mark.soak
def test_what_the_evaluation_likes_best_and_where_it_stops_is_chosen(tmp_path):
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=1e9)
    run = trainer(
        tmp_path,
        GoldenCallback(),
        max_steps=40,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        **SAVING,
    )
    run.eval_dataset = Rows()
    run.add_callback(stop)
    run.train()

    assert run.state.global_step < 40
    assert progress_at(tmp_path, run.state.global_step).is_chosen
    assert progress_at(tmp_path, run.state.best_global_step).is_chosen


@pytest.mark.soak
def test_a_training_that_goes_on_says_the_same_again(tmp_path):
    trainer(tmp_path, GoldenCallback(), max_steps=8, lr_scheduler_type="linear", **SAVING).train()
    before = progress_at(tmp_path, 6)
    goes_on = trainer(tmp_path, GoldenCallback(), max_steps=8, lr_scheduler_type="linear", **SAVING)

    (tmp_path / "checkpoint-6" / GOLDEN_FILE).unlink()
    goes_on.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))

    assert progress_at(tmp_path, 6) == before


@pytest.mark.soak
def test_what_was_said_of_a_step_is_said_again_when_it_goes_on(tmp_path):
    made = KeptProgress.of(tmp_path, since=0)
    first = [made.at(TrainingProgress(step, 6, 1 - step / 6, step == 4)) for step in (2, 4)]

    goes_on = KeptProgress.of(tmp_path, since=2)  # from the checkpoint before the last

    assert goes_on.at(TrainingProgress(2, 60, 0.9)) == first[0]
    assert goes_on.at(TrainingProgress(4, 60, 0.9)) == TrainingProgress(4, 60, 0.9)
    assert KeptProgress.of(tmp_path, since=0).known == {}


@pytest.mark.parametrize("found", [b"", b"[1]", b'{"2": {"step": -1, "planned": 3}}'])
def test_a_file_that_was_cut_off_is_none(found, tmp_path):
    kept = KeptProgress.of(tmp_path, since=0)
    kept.at(TrainingProgress(2, 6))
    kept.path.write_bytes(found)

    assert KeptProgress.of(tmp_path, since=9).known == {}


def schedulers():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    falls = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 10)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(torch.optim.SGD([weight], lr=0.1))

    class Wrapped:
        scheduler = falls

    optimizer.step()
    falls.step()
    lost = torch.optim.lr_scheduler.LambdaLR(torch.optim.SGD([weight], 0.1), lambda _: math.nan)
    return {
        "none": (None, 1.0),
        "falls": (falls, 0.9),
        "in a wrapper": (Wrapped(), 0.9),
        "on a plateau": (plateau, 1.0),
        "no scheduler": (object(), 1.0),
        "no number": (lost, 1.0),
    }


@pytest.mark.parametrize("name", ["none", "falls", "in a wrapper", "on a plateau", "no scheduler", "no number"])
def test_how_far_a_rate_has_fallen(name):
    scheduler, left = schedulers()[name]

    assert rate_left(scheduler) == pytest.approx(left)
