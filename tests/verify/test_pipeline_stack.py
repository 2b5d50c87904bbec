"""A version on a pipeline as the base of another: its components stay apart."""

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base

pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
from tests.verify.test_pipeline_bases import TEXT, UNET, save_pipeline, trained, write

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other


def test_a_lora_stands_on_a_folded_pipeline(local_registry, tmp_path):
    client = local_registry.client(("read", "push", "admin"))
    save_pipeline(tmp_path / "pipeline")
    client.bases.push(tmp_path / "pipeline", "pipeline")
    below = write(tmp_path / "below", trained(unet=UNET)[1], unet=UNET)
    above = write(tmp_path / "above", trained(text_encoder_2=TEXT)[1], text_encoder_2=TEXT)

    first = client.push(below, "team/first", base="pipeline").version.ref
    second = client.push(above, "team/second", base=first).version.ref
    client.materialize(second, tmp_path / "out")

    changed = set()
    caches = Cache(tmp_path / "cache")
    with open_base(tmp_path / "pipeline", caches) as old, open_base(tmp_path / "out", caches) as new:
        assert old.view.tensors.keys() == new.view.tensors.keys()
        for name, record in old.view.tensors.items():
            if record.digest != new.view.tensors[name].digest:
                changed.add(name.partition(".")[0])
    assert changed == {"unet", "text_encoder_2"}
