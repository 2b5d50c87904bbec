"""What is odd of a batch is seen, and what is usual is not."""

import math

import numpy as np
import pytest

from deltareg.suites.training_start import IGNORED, BatchCounts, TrainingStart, shown_in

PAD, END = 0, 2


def texts(rows=16, length=24, padded=6, seed=0):
    """Give tokens, mask and labels as a collator of transformers makes them."""
    ids = np.random.default_rng(seed).integers(10, 500, (rows, length))
    ids[:, -padded - 1] = END
    ids[:, length - padded :] = PAD
    mask = (ids != PAD).astype(np.int64)
    return ids, mask, np.where(mask == 1, ids, IGNORED)


def told(ids, labels, form="causal", padding=PAD, **given):
    """Give what is odd of a batch, in words."""
    seen = shown_in(ids, labels, form=form, padding=padding, end=[END], **given)
    return " / ".join(one.description for one in TrainingStart.of([seen], form).oddities)


def test_nothing_is_odd_of_a_batch_as_it_should_be():
    ids, mask, labels = texts()

    assert told(ids, labels, mask=mask, loss=3.0, choices=500) == ""


def test_only_answers_have_labels_and_that_is_usual():
    ids, mask, labels = texts()
    labels[:, :12] = IGNORED

    assert told(ids, labels, mask=mask) == ""


def test_masked_tokens_alone_have_labels_where_gaps_are_filled():
    ids, mask, _ = texts()
    gaps = np.random.default_rng(1).random(ids.shape) < 0.15
    labels = np.where(gaps & (ids != PAD), ids, IGNORED)

    assert told(np.where(gaps, 7, ids), labels, "gaps", mask=mask) == ""


def test_classes_of_tokens_are_no_tokens():
    ids, mask, _ = texts()

    assert told(ids, np.zeros_like(ids), "other", mask=mask, loss=9.0) == ""


def test_labels_that_were_shifted_already():
    ids, mask, labels = texts()
    shifted = np.roll(labels, -1, axis=1)
    shifted[:, -1] = IGNORED

    assert "shifts labels once more" in told(ids, shifted, mask=mask)


def test_one_token_again_and_again_is_not_shifted():
    ids = np.full((8, 16), 5)

    assert "shifts" not in told(ids, ids)


def test_a_source_that_is_its_own_target():
    ids, mask, labels = texts()

    assert told(ids, labels, "paired", mask=mask) == "what is to be written is what is read"


def test_padding_with_labels():
    ids, _, _ = texts()

    assert "96 of 384 labels are the padding token" in told(ids, ids, mask=np.ones_like(ids))


def test_an_end_that_is_padding_and_has_no_label():
    """The tokenizer had no padding token and took the end for it; the collator masks all of it."""
    ids, _, _ = texts()
    ids[ids == PAD] = END
    labels = np.where(ids == END, IGNORED, ids)

    assert "ending is not learnt" in told(ids, labels, padding=None)
    assert told(ids, np.where(np.roll(ids, 1, 1) == END, IGNORED, ids), padding=None) == ""


def chats(rows=16, seed=0):
    """Give tokens of a question and an answer that each end, with labels for the answers alone."""
    ids, mask, _ = texts(rows, seed=seed)
    ids[:, 9] = END
    labels = np.where(mask == 1, ids, IGNORED)
    labels[:, :10] = IGNORED
    return ids, mask, labels


def test_questions_that_are_learnt_in_place_of_answers():
    ids, mask, labels = chats()
    inverted = np.where((labels == IGNORED) & (mask == 1), ids, IGNORED)

    assert told(ids, labels, mask=mask) == ""
    assert told(ids, inverted, mask=mask) == (
        "in 16 texts an end has a label, and never the last one: what is asked is learnt, and no answer"
    )
    assert told(ids[:15], inverted[:15], mask=mask[:15]) == ""  # some chats are cut behind a question


def test_padding_that_is_the_end_is_no_last_end():
    ids, _, labels = chats()
    ids[ids == PAD] = END
    labels[:, -6:] = IGNORED

    assert told(ids, labels, padding=None) == ""


@pytest.mark.parametrize(("different", "is_odd"), [(8, True), (12, False)])
def test_rows_that_come_again_in_each_batch(different, is_odd):
    ids, mask, labels = texts(rows=different)
    rows = np.resize(np.arange(different), 32)
    batches = [shown_in(ids[at], labels[at], mask=mask[at], end=[END]) for at in (rows[:16], rows[16:])]

    start = TrainingStart.of(batches, "causal")

    assert (start.shown.rows, start.shown.distinct_rows, start.shown.marks) == (32, different, ())
    odd = ["32 rows are 8 different ones, so they are learnt by heart"] if is_odd else []
    assert [one.description for one in start.oddities] == odd


def test_rows_are_equal_however_they_are_padded():
    ids, mask, labels = texts()
    wide = [np.pad(one, ((0, 0), (0, 3)), constant_values=blank) for one, blank in ((ids, PAD), (mask, 0))]
    batches = [
        shown_in(ids, labels, mask=mask),
        shown_in(wide[0], np.pad(labels, ((0, 0), (0, 3)), constant_values=IGNORED), mask=wide[1]),
    ]

    assert TrainingStart.of(batches, "causal").shown.distinct_rows == 16


@pytest.mark.parametrize(("last", "is_odd"), [(END, False), (17, True)])
def test_what_is_written_has_an_end(last, is_odd):
    rng = np.random.default_rng(3)
    labels = np.full((16, 12), IGNORED)
    labels[:, :6] = rng.integers(10, 500, (16, 6))
    labels[:, 5] = last

    found = told(rng.integers(10, 500, (16, 9)), labels, "paired")

    assert ("ending is not learnt" in found) is is_odd


def test_texts_that_were_cut_say_nothing_of_their_ends():
    ids = np.random.default_rng(4).integers(10, 500, (16, 12))

    assert told(ids, ids, "paired", padding=None) == ("what is to be written is what is read")


def test_texts_that_repeat_themselves():
    ids = np.tile(np.random.default_rng(5).integers(10, 500, (8, 4)), (1, 12))

    assert "texts repeat themselves: of 360 runs of 4 tokens, 328" in told(ids, ids)


def test_padding_and_places_of_images_are_no_texts_that_repeat():
    ids = np.random.default_rng(6).integers(10, 500, (8, 60))
    ids[:, 10:50], ids[:, 52:] = 7, PAD

    assert told(ids, np.where(ids == PAD, IGNORED, ids)) == ""


@pytest.mark.parametrize(("loss", "is_odd"), [(6.2, False), (6.3, False), (6.6, True)])
def test_a_loss_that_is_worse_than_a_guess(loss, is_odd):
    ids, mask, labels = texts()

    assert ("who guesses" in told(ids, labels, mask=mask, loss=loss, choices=500)) is is_odd
    assert math.log(500) == pytest.approx(6.21, abs=0.01)


@pytest.mark.parametrize(("pixel", "is_odd"), [(2.6, False), (255.0, True)])
def test_pixels_that_nobody_normalised(pixel, is_odd):
    assert ("no normalisation leaves" in told(None, None, farthest_pixel=pixel)) is is_odd


def test_batches_are_counted_together():
    one, two = (texts(seed=seed) for seed in (1, 2))
    both = [np.concatenate(pair) for pair in zip(one, two, strict=True)]

    apart = [shown_in(i, la, mask=m, end=[END], loss=2.0) for i, m, la in (one, two)]

    whole = TrainingStart.of([shown_in(both[0], both[2], mask=both[1], end=[END], loss=2.0)], "causal").shown
    start = TrainingStart.of(apart, "causal")
    assert start.shown == whole + BatchCounts(losses=(2.0,))
    assert start.description == "2 batches, 576 labels, a loss of 2 nats each"


@pytest.mark.parametrize(("matched", "is_odd"), [(700, False), (500, True), (None, True)])
def test_a_loss_above_a_guess_is_odd_where_the_base_knows_nothing_of_the_data(matched, is_odd):
    """A base of another language is worse than a guess and knows which token stands where."""
    pairs = {} if matched is None else {"pairs": 1000, "matched": matched}
    seen = BatchCounts(losses=(6.9,), choices=500, **pairs)

    odd = TrainingStart(1, "causal", seen).oddities

    assert bool(odd) is is_odd


def test_few_pairs_excuse_nothing():
    seen = BatchCounts(losses=(6.9,), choices=500, pairs=20, matched=20)

    assert len(TrainingStart(1, "causal", seen).oddities) == 1
