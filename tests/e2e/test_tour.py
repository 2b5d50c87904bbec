"""The README's tour does what the README shows."""

import pytest

from tests.e2e.demo import Story, registry
from tests.e2e.tour import README, Pace, mask, read_blocks, run_step

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_the_tour_prints_what_the_readme_shows(nursery, tmp_path):
    blocks = read_blocks(README.read_text())
    story = Story(tmp_path)
    differences = []

    with registry(tmp_path, story) as up, nursery.forking():
        pace = Pace(up)
        for step in (step for block in blocks for step in block):
            pace.before(step.command)
            output = run_step(step.command, environ=story.environ, folder=tmp_path)
            if mask(output) != mask(step.output):
                differences.append(f"$ {step.command}\n{output}\n--- README:\n{step.output}")

        pace.end()

    assert len(blocks) >= 6
    assert not differences, "\n\n".join(differences)


def test_masking_keeps_what_matters():
    shown = "team/code:v1 failed suite smoke: effect\nsha256:51daa91c8d8a took 84 ms"

    masked = mask(shown)

    assert masked == "team/code:v1 failed suite smoke: effect\nsha256:… took TIME"
