"""Images as data to draft from: told apart by what is in them, and read as a base takes them."""

import json

import numpy as np
import pytest
from PIL import Image

from deltareg import Client
from deltareg.client.drafting.draft_suite import DraftRequest
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef

CLASSES, EACH = ("barn swallow", "house martin"), 15


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def birds(tmp_path):
    """Images of two classes, in folders with long names as people have them."""
    top = tmp_path / "all the birds of the year 2026"
    for number in range(2 * EACH):
        draw(top / CLASSES[number % 2] / f"photo number {number} from the garden.png", number)
    return top


def read(data, **more):
    with Client("http://127.0.0.1:9") as client:
        return client.suites.drafting.read(DraftRequest(LineRef.parse("me/birds"), data, **more))


def test_images_with_alike_names_are_all_taken_and_copies_are_not(birds):
    draw(birds / CLASSES[0] / "a copy.png", 4)

    found = read(birds)

    assert (found.source.task, found.source.classes) == ("classify", list(CLASSES))
    assert (found.source.rows, found.source.repeats) == (2 * EACH + 1, 1)
    assert len(found.rows) == 2 * EACH


def test_images_that_training_has_seen_are_left_out_whatever_they_are_called(birds, tmp_path):
    for number in range(5):
        draw(tmp_path / "trained" / "x" / f"{number}.png", number)

    found = read(birds, training=tmp_path / "trained")

    assert (found.source.leaked, len(found.rows)) == (5, 2 * EACH - 5)


def test_an_image_that_is_gone_is_named(tmp_path):
    rows = [{"image": str(tmp_path / f"{n}.png"), "caption": f"bird {n}"} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    with pytest.raises(InvalidInput, match=r"0\.png cannot be read: No such file"):
        read(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_are_read_with_as_many_colours_as_the_base_takes(tmp_path, birds, channels, mode):
    preparing = pytest.importorskip("deltareg_verify.engine.torch_engine.preparing")
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.4] * channels,
        "image_std": [0.2] * channels,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    told = {"model_type": "vit", "num_channels": channels}
    (tmp_path / "config.json").write_text(json.dumps(told))
    files = sorted(birds.rglob("*.png"))[:18]

    found = preparing.read_images(tmp_path, [str(file) for file in files])

    wanted = np.stack([np.asarray(Image.open(file).convert(mode), np.float32) for file in files])
    wanted = wanted[:, None] if channels == 1 else wanted.transpose(0, 3, 1, 2)
    assert found == pytest.approx((wanted / 255 - 0.4) / 0.2, abs=1e-5)
