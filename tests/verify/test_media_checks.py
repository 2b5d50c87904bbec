"""Networks that hear and see, beside what the libraries write with the same delta."""

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
torch = judged.torch
from deltareg.suites.samples import Samples  # noqa: E402
from deltareg_verify.engine.measures.answers import without_repeats  # noqa: E402
from deltareg_verify.judging.checks.answers import is_right  # noqa: E402

FEW = "parameters: {least_samples: 1"
TENSORS = {"file": "a.safetensors"}


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return judged.whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    return judged.listener(tmp_path_factory.mktemp("listener"))


@pytest.fixture(scope="module")
def seer(tmp_path_factory):
    return judged.seer(tmp_path_factory.mktemp("seer"))


def normal(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def written(one, rows, count):
    """Have the library write from each row."""
    found = []
    for row in range(len(next(iter(rows.values())))):
        given = {name: torch.from_numpy(value[row : row + 1]) for name, value in rows.items()}
        with torch.no_grad(), judged.small_networks.quiet():
            made = one.network.generate(**given, do_sample=False, max_new_tokens=count)
        ids = given.get("input_ids")
        kept = made[0] if ids is None else made[0, ids.shape[1] :]
        found.append(one.tokenizer.decode(kept, skip_special_tokens=True))
    return found


def spoilt(texts):
    """Give right transcripts of which these are wrong in part."""
    return tuple(f"{' '.join(text.split()[1:])} sea dog".strip() for text in texts)


@pytest.mark.filterwarnings("ignore")  # what the library says of settings
def test_errors_of_what_is_heard_are_those_of_jiwer(whisper, cache_dir):
    jiwer = pytest.importorskip("jiwer", reason="needs jiwer: pip install 'deltareg[texts]'")
    sounds = {"input_features": normal(3, 8, 16)}
    said = written(whisper, sounds, 6)
    targets = spoilt(said)
    case = whisper.case(cache_dir, Samples(arrays=sounds, targets=targets))

    found = {
        name: judged.check(case, "transcription", f"{FEW}, measure: {name}, new_tokens: 6}}", **TENSORS)
        for name in ("wer", "cer")
    }

    assert any(said)
    assert found["wer"].value == pytest.approx(jiwer.wer(list(targets), said))
    assert found["cer"].value == pytest.approx(jiwer.cer(list(targets), said))
    assert found["wer"].baseline is not None


def test_a_transcript_is_as_likely_as_the_library_says(whisper, cache_dir):
    sounds, targets = {"input_features": normal(2, 8, 16)}, ("old sea", "the red cat")
    total, tokens = 0.0, 0
    for row, target in enumerate(targets):
        labels = whisper.tokenizer(target, return_tensors="pt")["input_ids"]
        features = torch.from_numpy(sounds["input_features"][row : row + 1])
        with torch.no_grad():
            loss = whisper.network(input_features=features, labels=labels).loss
        total, tokens = total + float(loss) * labels.shape[1], tokens + labels.shape[1]

    finding = judged.check(
        whisper.case(cache_dir, Samples(arrays=sounds, targets=targets)), "target_perplexity", FEW + "}", **TENSORS
    )

    assert finding.value == pytest.approx(np.exp(total / tokens), rel=1e-5)


def test_frames_are_read_as_the_library_reads_them(listener, cache_dir):
    jiwer = pytest.importorskip("jiwer", reason="needs jiwer: pip install 'deltareg[texts]'")
    sounds = {"input_values": normal(3, 200)}
    with torch.no_grad():
        frames = listener.network(torch.from_numpy(sounds["input_values"])).logits.argmax(-1)
    said = [listener.tokenizer.decode(row, skip_special_tokens=True) for row in frames]
    targets = tuple(f"{text[1:]}dog" for text in said)
    case = listener.case(cache_dir, Samples(arrays=sounds, targets=targets))

    finding = judged.check(case, "transcription", f"{FEW}, measure: cer, form: exact}}", **TENSORS)

    assert any(said)
    assert finding.value == pytest.approx(jiwer.cer(list(targets), said))


def test_repeats_are_one_and_blanks_none():
    assert without_repeats([0, 5, 5, 0, 5, 6, 6, 0, 0], blank=0) == [5, 5, 6]


def test_answers_about_images_are_those_that_the_library_writes(seer, cache_dir):
    ids = np.full((3, 9), 30, np.int64)
    ids[:, 0], ids[:, -4:] = 1, np.arange(12).reshape(3, 4) + 4
    patches = 4
    rows = {
        "input_ids": np.concatenate([ids[:, :1], ids[:, 1 : 1 + patches], ids[:, -4:]], 1),
        "pixel_values": normal(3, 3, 8, 8),
    }
    rows["attention_mask"] = np.ones_like(rows["input_ids"])
    said = written(seer, rows, 3)
    case = seer.case(cache_dir, Samples(arrays=rows, targets=(f"The {said[0]}!", "zebra", said[2])))

    finding = judged.check(case, "answers", f"{FEW}, new_tokens: 3}}", **TENSORS)

    assert finding.value == pytest.approx(2 / 3), (said, finding.detail)


@pytest.mark.parametrize(
    ("said", "target", "begins", "right"),
    [
        ("A red cat.", "red cat", False, True),
        ("1,000", "1000", False, True),
        ("red cat on a hill", "red cat", False, False),
        ("red cat on a hill", "red cat", True, True),
        ("red catalogue", "red cat", True, False),
        ("two", "2|two", False, True),
        ("", "the", False, False),
    ],
)
def test_what_is_a_right_answer(said, target, begins, right):
    assert is_right(said, target, begins=begins) == right


def test_rows_have_texts_in_a_tensor():
    from safetensors.numpy import save

    from deltareg.suites.probe_set import read_samples
    from deltareg.suites.suite import ProbeSet

    texts = ["a sea", "größer"]
    raw = [text.encode() for text in texts]
    padded = np.frombuffer(b"".join(x.ljust(8, b"\0") for x in raw), np.uint8).reshape(2, 8)

    found = read_samples(
        ProbeSet("made", "a.safetensors"), save({"input_features": normal(2, 3), "targets": padded.copy()})
    )

    assert found.targets == tuple(texts)
