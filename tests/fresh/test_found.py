"""What the generator has found: each was silently wrong, or refused without need."""

import pytest

from deltareg_verify.judging.examine import examine
from tests.fresh.outcomes import run, workplace
from tests.fresh.plan import RECIPES
from tests.verify.bench import Bench

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
RIGHT = [
    ("bert", "lora, embedding saved and tied"),  # the library ties two names only
    ("bart classifying", "lora on all"),  # no head of the usual names, and it needs none
    ("vit to bert", "lora on all"),  # its verification ran on images of another size
    ("swin to bart", "oft with a head"),  # names that a decoder alone does not have
    ("t5", "lora on both ends"),  # the switch that unties scales its outputs
    ("switch", "lora on both ends"),  # the same
    ("t5", "all of it, untied"),  # its own config unties what the base's files have once
    ("roformer", "all of it, untied"),  # the same of a bias
    ("marian", "lora, both ends saved"),  # ties that a class makes for itself
    ("deberta", "all of it, with new tokens"),  # a head's bias grows with the vocabulary
    ("llama answering", "lora with its biases"),  # a class whose plain network has another name
    ("gemma3 vision", "olora"),  # peft writes to weights that were mapped to be read
    ("gpt2", "lora, head saved and tied"),  # what shares its weight came by its own name
    ("blip_2", "lora, embedding saved and tied"),  # ties of a network inside, which peft leaves
    ("vilt", "waveft"),  # the network itself puts its patches in a random order
    ("vision_text", "loha"),  # each of two networks has names of its own
]
REFUSED = {
    # Read as tied when made, and as untied when loaded: the name of the embedding decides.
    ("gpt2", "lora on the head, tied"): "not_selected",
    ("bert", "lora and tokens"): "ambiguous",
    ("bert", "tokens"): "ambiguous",
    ("blip answering", "pissa"): "not_self_contained",
    ("bert", "all of it, names of DDP"): "wrapped_names",
    ("llama, tied", "names of DDP"): "wrapped_names",
    ("bert", "all of it, untied by the config alone"): "missing_tensors",
    ("switch", "all of it, untied"): "bad_config",
    ("marian", "lora and tokens"): "ambiguous",
    ("blip_2", "lora and tokens"): "ambiguous",  # a head without a bias, inside another network
}


@pytest.mark.parametrize(("base", "title"), RIGHT)
def test_a_delta_that_was_wrong_or_refused_is_right(tmp_path, base, title):
    with workplace(base, tmp_path / "made") as place:
        outcome = run(place, title, RECIPES[title])

    assert (outcome.result, outcome.message) == ("right", "")


@pytest.mark.parametrize(("base", "title"), REFUSED)
def test_a_delta_that_was_wrong_is_refused_by_name(tmp_path, base, title):
    with workplace(base, tmp_path / "made") as place:
        outcome = run(place, title, RECIPES[title])

    assert (outcome.result, outcome.code) == ("refused", REFUSED[base, title])


def test_a_network_that_draws_at_random_is_warned_of(tmp_path):
    with workplace("vilt", tmp_path / "made") as place:
        run(place, "waveft", RECIPES["waveft"])
        bench = Bench(place.folder / "delta", place.folder / "base", tmp_path / "cache")
        results = {result.name: result for result in examine(bench.case())}

    found = results["deterministic"]
    assert (found.verdict, found.code) == ("warn", "non_deterministic")
