"""Probe inputs have the names and dimensions that the class's own processor gives them."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="needs transformers")
image = pytest.importorskip("PIL.Image", reason="needs Pillow")

from deltareg_verify.engine.torch_engine.probe import probe_inputs  # noqa: E402  # it needs torch
from tests.fresh import bases  # noqa: E402

PICTURE = image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
FILM = [[PICTURE] * 16]
SOUND = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
OF_PICTURES = {
    "idefics2": ("Idefics2ImageProcessorPil", [[PICTURE]]),
    "idefics3": ("Idefics3ImageProcessorPil", [[PICTURE]]),
    "llava_next": ("LlavaNextImageProcessorPil", [PICTURE]),
    "llava_onevision": ("LlavaOnevisionImageProcessorPil", [PICTURE]),
    "mistral3": ("PixtralImageProcessorPil", [PICTURE]),
    "mllama": ("MllamaImageProcessorPil", [PICTURE]),
    "pix2struct": ("Pix2StructImageProcessorPil", [PICTURE]),
    "qwen2_vl": ("Qwen2VLImageProcessorPil", [PICTURE]),
    "sam": ("SamImageProcessorPil", [PICTURE]),
    "siglip2": ("Siglip2ImageProcessorPil", [PICTURE]),
    "smolvlm": ("SmolVLMImageProcessorPil", [[PICTURE]]),
    "videomae": ("VideoMAEImageProcessorPil", FILM),
    "vivit": ("VivitImageProcessor", FILM),
}
OF_SOUNDS = {
    "ast": "ASTFeatureExtractor",
    "clap": "ClapFeatureExtractor",
    "parakeet": "ParakeetFeatureExtractor",
    "qwen2_audio": "WhisperFeatureExtractor",
    "speech_to_text": "Speech2TextFeatureExtractor",
    "speecht5": "SpeechT5FeatureExtractor",
    "voxtral": "WhisperFeatureExtractor",
}
BESIDE = {"attention_mask", "batch_num_images", "num_tiles", "original_sizes", "reshaped_input_sizes"}


def dimensions(inputs):
    return {name: value.ndim for name, value in inputs.items() if hasattr(value, "ndim") and name not in BESIDE}


def drawn(name):
    return dimensions(probe_inputs(bases.made(name), seed=0, sequences=1, tokens=8))


@pytest.mark.filterwarnings("ignore")  # of processors that are to be called otherwise some day
@pytest.mark.parametrize("name", OF_PICTURES)
def test_pictures_are_as_the_processor_makes_them(name):
    processor, pictures = OF_PICTURES[name]
    want = dimensions(getattr(transformers, processor)()(pictures, return_tensors="pt"))

    assert want
    assert drawn(name).items() >= want.items()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OF_SOUNDS)
def test_sounds_are_as_the_extractor_makes_them(name):
    extractor = getattr(transformers, OF_SOUNDS[name])()
    want = dimensions(extractor(SOUND, sampling_rate=extractor.sampling_rate, return_tensors="pt"))

    assert want
    assert drawn(name).items() >= want.items()
