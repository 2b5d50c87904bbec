"""The axis of a small history: it holds the mark, and makes no mountain of a small change."""

import pytest

from deltareg.drawing.plots import history, scale_of


@pytest.mark.parametrize(
    ("values", "mark", "scale"),
    [
        ([1.6e-6, 2.3e-6], 1e-4, (0.0, 1e-4)),  # far below its mark, and looks so
        ([0.91, 0.89], 0.9, (0.89, 0.91)),  # about a mark, which is what matters
        ([0.75, 0.25], None, (0.0, 0.75)),
        ([-0.75, -0.25], None, (-0.75, 0.0)),
        ([-1.0, 1.0], None, (-1.0, 1.0)),
        ([100.0, 101.0], None, (90.4, 110.6)),  # one in a hundred is no mountain
        ([2.0, 2.0], 2.0, (1.8, 2.2)),
        ([0.0, 0.0], None, (-0.1, 0.1)),
    ],
)
def test_a_scale_is_as_fine_as_what_it_shows(values, mark, scale):
    assert scale_of(values, mark) == pytest.approx(scale)


def test_a_history_says_its_scale_and_its_mark():
    drawn = history([("v1", 1.6e-6), ("v2", 2.3e-6)], threshold=1e-4, label="effect")

    assert ">0.0001</text>" in drawn
    assert ">0</text>" in drawn
    assert drawn.count('class="limit"') == 1
