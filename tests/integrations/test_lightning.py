"""A real Trainer of Lightning pushes what it trains."""

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
pl = pytest.importorskip("lightning.pytorch", reason="needs lightning: pip install lightning")

from torch.utils.data import DataLoader  # noqa: E402

from deltareg.integrations.lightning import LightningPushCallback  # noqa: E402
from deltareg.suites.golden_file import GOLDEN_FILE, decode  # noqa: E402
from tests.integrations.training import Rows, adapter, tokenizer  # noqa: E402

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
WEIGHTS = "adapter_model.safetensors"


class Module(pl.LightningModule):  # type: ignore[name-defined]  # it may not be installed
    """What people write: a network in a module."""

    def __init__(self):
        super().__init__()
        self.network = adapter()

    def training_step(self, batch, _):
        loss = self.network(**batch).loss
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), lr=1e-2)


def fit(folder, callback, *, steps=4, goes_on=None):
    saves = pl.callbacks.ModelCheckpoint(folder, every_n_train_steps=2, save_top_k=-1)
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_steps=steps,
        callbacks=[saves, callback],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module()
    trainer.fit(module, DataLoader(Rows(), batch_size=2), ckpt_path=goes_on)
    return module


def pushing(client, line, **options):
    return LightningPushCallback(
        line, base="tinyllama", client=client, always_push=True, tokenizer=tokenizer(), **options
    )


def test_checkpoints_and_the_end_are_pushed(client, line, tmp_path):
    callback = pushing(client, line)

    module = fit(tmp_path / "run", callback, steps=5)

    versions = [client.show(ref) for ref in callback.versions]
    assert [v.labels["step"] for v in versions] == ["2", "4", "5"]
    assert versions[2].parents == [versions[1].ref]
    assert "metric.train_loss" in versions[2].labels
    assert GOLDEN_FILE in versions[2].files
    files = [client.pull(ref, tmp_path / ref.replace(":", "-")).path for ref in callback.versions]
    told = [decode((path / GOLDEN_FILE).read_bytes()).progress for path in files]
    assert [one and (one.step, one.planned) for one in told] == [(2, 5), (4, 5), (5, 5)]
    module.network.save_pretrained(tmp_path / "own")
    pulled = client.pull(callback.versions[-1], tmp_path / "pulled").path
    assert (pulled / WEIGHTS).read_bytes() == (tmp_path / "own" / WEIGHTS).read_bytes()


def test_a_run_that_goes_on_follows_what_it_pushed(client, line, tmp_path):
    first = pushing(client, line)
    fit(tmp_path / "run", first)
    second = pushing(client, line)

    (saved,) = (tmp_path / "run").glob("*step=4.ckpt")
    fit(tmp_path / "run", second, steps=6, goes_on=saved)

    assert [client.show(ref).labels["step"] for ref in second.versions] == ["6"]
    assert client.show(second.versions[0]).parents == [first.versions[-1]]


def test_the_end_alone_and_a_way_to_save(client, line, tmp_path):
    callback = pushing(
        client, line, strategy="end", golden=False, save=lambda module, folder: module.network.save_pretrained(folder)
    )

    fit(tmp_path, callback)

    (ref,) = callback.versions
    assert client.show(ref).labels["step"] == "4"


def test_a_module_that_nobody_can_save_is_told(client, line, tmp_path, caplog):
    class Two(Module):
        def __init__(self):
            super().__init__()
            self.other = adapter()

    callback = pushing(client, line, strategy="end")
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        max_steps=1,
        callbacks=[callback],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(Two(), DataLoader(Rows(), batch_size=2))

    assert callback.versions == []
    assert "2 parts of Two can save_pretrained; say how" in caplog.text
