"""Bases of every kind are asked by the command line and a real worker, beside the libraries.

What writes is held to the library's own `generate` token by token, what names classes to its
scores, and what does neither says so.
"""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
torch, transformers = judged.torch, judged.transformers
from tests import small_networks  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
PROMPT = "one red cat sits near the old sea"


def bart(folder):
    """An encoder-decoder of BART's form, whose decoder begins with the mark that ends texts."""
    config = transformers.BartConfig(
        vocab_size=len(judged.WORDS),
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_position_embeddings=32,
        init_std=0.3,
        decoder_start_token_id=2,
        forced_bos_token_id=1,
        forced_eos_token_id=2,
        **judged.ENDED,
    )
    return judged.make(
        folder,
        lambda: transformers.BartForConditionalGeneration(config),
        ["q_proj", "v_proj"],
        task="SEQ_2_SEQ_LM",
        words=judged.tokenizer(),
        std=0.2,
    )


def marian(folder):
    """An encoder-decoder of Marian's form, which never writes what fills texts."""
    config = transformers.MarianConfig(
        vocab_size=len(judged.WORDS),
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_position_embeddings=32,
        init_std=0.3,
        decoder_start_token_id=0,
        **judged.ENDED,
    )

    def network():
        made = transformers.MarianMTModel(config)
        made.generation_config.bad_words_ids = [[0]]
        return made

    return judged.make(
        folder, network, ["q_proj", "v_proj", "fc1", "fc2"], task="SEQ_2_SEQ_LM", words=judged.tokenizer(), std=0.6
    )


@pytest.fixture
def pushed(local_registry, tmp_path):
    """Push what a function makes, as `team/it` on the base `it`; gives what it made."""

    def push(make, **more):
        made = make(tmp_path / "made", **more)
        client = local_registry.client()
        client.bases.push(made.base, "it")
        client.push(made.delta, "team/it", base="it")
        return made

    return push


@pytest.fixture
def versions(local_registry, tmp_path):
    """Push further versions of `team/it`, each with its folder changed by a function."""

    def push(made, changes):
        client = local_registry.client()
        for number, change in enumerate(changes, 2):
            folder = shutil.copytree(made.delta, tmp_path / f"v{number}")
            change(folder)
            client.push(folder, "team/it", base="it")

    return push


@pytest.fixture
def asked(user, find):
    """Ask by the command line while a worker answers; gives the outcome."""

    def ask(*words, carried=True):
        with ThreadPoolExecutor() as pool:
            work = pool.submit(find) if carried else None
            found = user("ask", *words)
            if work is not None:
                work.result(120)
        return found

    return ask


def answers_of(outcome):
    assert outcome.status == 0, outcome.err
    return {each["side"]: each for each in json.loads(outcome.out)["answers"]}


def by_library(made, count, *, base, **inputs):
    """Have the library write, its delta attached or not; gives the tokens that are new."""
    with torch.no_grad(), small_networks.quiet():
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": count, **inputs}
        if not base:
            return made.network.generate(**options)[0].tolist()
        with made.network.disable_adapter():
            return made.network.generate(**options)[0].tolist()


@pytest.mark.parametrize("make", [judged.translator, bart, marian])
def test_an_encoder_decoder_writes_what_the_library_does(pushed, asked, make):
    made = pushed(make)

    found = answers_of(asked("team/it", PROMPT, "--tokens", "9", "--json"))

    ids = made.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    texts = []
    for side, is_base in (("base", True), ("a", False)):
        row = by_library(made, 9, base=is_base, input_ids=ids)[1:]  # the first begins every text
        ends = row[-1] == 2
        texts.append(made.tokenizer.decode(row, skip_special_tokens=True))
        one = found[side]
        assert (one["text"], one["tokens"]) == (texts[-1], len(row) - ends)
        assert one["is_over"] == ends
        assert (one["template"], one["given"]) == ("", f"{PROMPT} </s>")
        assert one["given_tokens"] == ids.shape[1]
    assert texts[0] != texts[1], "the delta does something"


def test_an_encoder_decoder_draws_nothing_and_takes_the_beginning_of_what_is_too_long(pushed, asked):
    made = pushed(bart)

    drawn = asked("team/it", PROMPT, "--seed", "3")
    long = answers_of(asked("team/it", " ".join(["one", "two", "three"] * 20), "--json"))

    assert (drawn.status, "draws nothing: ask without a seed" in drawn.err) == (2, True)
    assert all(one["is_cut"] for one in long.values())
    assert long["a"]["given"].startswith("one two three")
    assert long["a"]["given"].endswith("</s>")
    assert long["a"]["given_tokens"] == 32 == made.network.config.max_position_embeddings


def test_a_classifier_names_its_classes_with_their_shares(pushed, asked):
    made = pushed(judged.encoder, labels=3)

    outcome = asked("team/it", PROMPT, "--json")

    found = answers_of(outcome)
    with torch.no_grad():
        logits = made.network(**made.tokenizer(PROMPT, return_tensors="pt")).logits[0].double()
    shares = logits.softmax(-1).numpy()
    told = {one["name"]: one["share"] for one in found["a"]["classes"]}
    assert [told[f"LABEL_{at}"] for at in range(3)] == pytest.approx(shares, abs=1e-5)
    assert [one["share"] for one in found["a"]["classes"]] == sorted(told.values(), reverse=True)
    assert (found["a"]["text"], found["a"]["why"]) == ("", "")
    assert found["base"]["classes"] == []
    assert found["base"]["why"] == "the base has no such head: the version brings it"


def test_a_classifier_is_shown_to_people_as_a_table(pushed, asked):
    def network(folder):
        config = judged.bert(num_labels=2, id2label={0: "sour", 1: "sweet"})
        return judged.make(
            folder,
            lambda: transformers.BertForSequenceClassification(config),
            ["query", "value"],
            words=judged.tokenizer(),
        )

    pushed(network)

    found = asked("team/it", PROMPT)

    assert found.status == 0, found.err
    assert re.search(r"CLASS +SHARE", found.out)
    assert len(re.findall(r"^ *s(?:our|weet) +[01]\.\d{4}$", found.out, re.MULTILINE)) == 4


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (judged.encoder, "makes vectors of texts and writes no text"),
        (judged.whisper, "takes sounds and no text"),
        ("vision", "takes images and no text"),
        ("masked", "fills gaps in texts and writes no text"),
    ],
)
def test_what_cannot_be_asked_says_why_and_what_compares_instead(pushed, asked, make, told):
    pushed({"vision": vision, "masked": masked}.get(make, make))

    found = asked("team/it", PROMPT)

    assert found.status == 2, found.out
    assert told in " ".join(found.err.split())
    assert "deltareg diff A B --mode behavior" in " ".join(found.err.split())


def vision(folder):
    config = transformers.ViTConfig(**judged.SIZE, image_size=8, patch_size=4)
    return judged.make(folder, lambda: transformers.ViTForImageClassification(config), ["q_proj", "v_proj"])


def masked(folder):
    return judged.make(
        folder, lambda: transformers.BertForMaskedLM(judged.bert()), ["query", "value"], words=judged.tokenizer()
    )


def test_one_that_sees_answers_a_text_alone(pushed, asked):
    made = pushed(judged.seer)

    found = answers_of(asked("team/it", PROMPT, "--tokens", "5", "--json"))

    ids = made.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    row = by_library(made, 5, base=False, input_ids=ids)[ids.shape[1] :]
    assert found["a"]["text"] == made.tokenizer.decode(row)


def test_scores_of_several_labels_are_shares_of_each():
    from deltareg_verify.child.class_answer import _shares

    scores = np.array([0.0, 2.0], np.float32)

    assert _shares(scores, {"problem_type": "multi_label_classification"}) == pytest.approx([0.5, 0.880797], abs=1e-6)
    assert _shares(scores, {}).sum() == pytest.approx(1)


TEMPLATE = (
    "{% for m in messages %}{{ '<s> ' + m['role'] + ' ' + m['content'] + ' </s> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'dog ' }}{% endif %}"
)
OWN = "{% for m in messages %}{{ '<s> new ' + m['content'] }}{% endfor %}{{ ' runs ' }}"


def in_folder(folder, template):
    (folder / "chat_template.jinja").write_text(template)


def in_settings(folder, template):
    file = folder / "tokenizer_config.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": template}]
    file.write_text(json.dumps({**known, "chat_template": several}))


def of_processor(folder, template):
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))


@pytest.mark.parametrize("put", [in_folder, in_settings])
def test_a_chat_is_what_the_library_makes_of_it(pushed, asked, put):
    def network(folder):
        made = judged.writer(folder)
        put(made.base, TEMPLATE)
        return made

    made = pushed(network)

    chat = answers_of(asked("team/it", PROMPT, "--tokens", "7", "--json"))
    plain = answers_of(asked("team/it", PROMPT, "--tokens", "7", "--no-chat", "--json"))

    words = transformers.AutoTokenizer.from_pretrained(made.base)
    turns = [{"role": "user", "content": PROMPT}]
    ids = words.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    ids = ids["input_ids"]
    for side, is_base in (("base", True), ("a", False)):
        row = by_library(made, 7, base=is_base, input_ids=ids)[ids.shape[1] :]
        row = row[:-1] if row[-1] == 2 else row
        assert chat[side]["text"] == words.decode(row)
        assert chat[side]["template"] == "base"
        assert chat[side]["given"] == words.decode(ids[0])
        assert chat[side]["given_tokens"] == ids.shape[1]
        assert (plain[side]["template"], plain[side]["given"]) == ("", PROMPT)
    assert plain["a"]["text"] != chat["a"]["text"]


def test_a_versions_own_template_goes_before_the_bases(pushed, asked):
    def network(folder):
        made = judged.writer(folder)
        in_folder(made.base, TEMPLATE)
        in_folder(made.delta, OWN)
        return made

    made = pushed(network)

    found = asked("team/it", PROMPT, "--tokens", "4", "--show-prompt")

    ids = made.tokenizer(f"<s> new {PROMPT} runs ", return_tensors="pt")["input_ids"]
    row = by_library(made, 4, base=False, input_ids=ids)[ids.shape[1] :]
    row = row[:-1] if row[-1] == 2 else row
    base, version = found.out.split("team/it:v1")
    assert "as a chat, by the base's template" in base
    assert "</s> dog" in base
    assert "as a chat, by its own template" in version
    assert f"<s> new {PROMPT} runs" in version
    assert made.tokenizer.decode(row) in version


def test_a_template_is_found_wherever_versions_bring_it(pushed, asked, versions):
    made = pushed(judged.writer)
    versions(made, [partial(put, template=OWN) for put in (in_settings, of_processor)])

    forced = answers_of(asked("team/it:v2", "team/it:v3", PROMPT, "--chat", "--json"))
    auto = answers_of(asked("team/it:v2", "team/it:v3", PROMPT, "--json"))

    given = f"<s> new {PROMPT} runs"
    assert [forced[side]["template"] for side in "ab"] == ["version", "version"]
    assert {forced[side]["given"] for side in "ab"} == {given} == {auto["b"]["given"]}
    assert forced["base"]["why"] == "no chat template comes with it"
    assert (auto["base"]["why"], auto["base"]["given"]) == ("", PROMPT)


def test_what_a_version_brings_to_cut_texts_by_is_what_it_is_asked_by(pushed, asked):
    def network(folder):
        made = judged.writer(folder)
        words = judged.tokenizer(ends=False)
        words.add_special_tokens({"additional_special_tokens": ["<turn>"]})
        words.chat_template = "<turn>{{ messages[0]['content'] }}"
        words.save_pretrained(made.delta)
        return made

    pushed(network)

    found = answers_of(asked("team/it", "one red", "--tokens", "4", "--json"))
    plain = answers_of(asked("team/it", "one red", "--tokens", "4", "--no-chat", "--json"))

    assert "the network has no vectors for" in found["a"]["why"]
    assert (found["base"]["why"], found["base"]["given"]) == ("", "one red")
    assert (plain["a"]["why"], plain["a"]["given"]) == ("", "one red")


REFUSING = {
    "{{ raise_exception('only sonnets, not ' + messages[0]['content']) }}": "only sonnets, not one",
    "{% for %}": "Expected an expression",
    "{{ ''.__class__.__base__.__subclasses__() }}": "unsafe",
    "{% for a in range(99999) %}{{ messages[0]['content'] }}{% endfor %}": "characters of the",
}


def test_what_a_template_refuses_is_told_to_who_asked_alone(pushed, asked, versions, local_registry):
    made = pushed(judged.writer)
    versions(made, [partial(in_folder, template=template) for template in REFUSING])

    found = [
        answers_of(asked(*refs, PROMPT, "--tokens", "3", "--json"))
        for refs in (("team/it:v2", "team/it:v3"), ("team/it:v4", "team/it:v5"))
    ]

    whys = [answers[side]["why"] for answers in found for side in "ab"]
    assert all(why.startswith("the chat template that this version brings ") for why in whys)
    for why, told in zip(whys, REFUSING.values(), strict=True):
        assert told in why
    assert {answers["base"]["why"] for answers in found} == {""}
    client = local_registry.client()
    lines = [line.text for run in client.runs.list() for line in client.runs.log(run.id).items]
    assert not any("red cat" in line or "sonnets" in line for line in lines)


def test_a_template_that_looks_for_parts_is_given_parts(pushed, asked):
    parts = (
        "{% for m in messages %}<s>{% for p in m['content'] if p['type'] == 'text' %}"
        "{{ ' ' + p['text'] }}{% endfor %}{% endfor %} runs"
    )

    def network(folder):
        made = judged.seer(folder)
        in_folder(made.base, parts)
        return made

    pushed(network)

    found = answers_of(asked("team/it", PROMPT, "--tokens", "2", "--json"))

    assert found["a"]["given"] == f"<s> {PROMPT} runs"


def test_no_template_at_all_is_a_plain_text_unless_a_chat_is_asked_for(pushed, asked):
    pushed(judged.writer)

    plain = answers_of(asked("team/it", PROMPT, "--tokens", "3", "--json"))
    refused = asked("team/it", PROMPT, "--chat")

    assert (plain["a"]["template"], plain["a"]["given"]) == ("", PROMPT)
    assert refused.status == 2
    assert "no chat template comes with llama" in " ".join(refused.err.split())


def test_what_ends_a_turn_ends_an_answer(pushed, asked):
    """A base of chats names several ends, of a turn and of all."""
    found: dict[str, list[int]] = {}

    def network(folder):
        made = judged.writer(folder)
        ids = made.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
        row = by_library(made, 6, base=False, input_ids=ids)[ids.shape[1] :]
        found.update(row=row)
        file = made.base / "generation_config.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps({**known, "eos_token_id": [2, row[3]]}))
        return made

    made = pushed(network)

    one = answers_of(asked("team/it", PROMPT, "--tokens", "6", "--json"))["a"]

    kept = found["row"][: found["row"].index(found["row"][3])]
    assert (one["text"], one["is_over"]) == (made.tokenizer.decode(kept), True)


def test_a_network_with_few_places_is_given_no_more_than_it_has(pushed, asked):
    pushed(judged.writer)  # of 64 places

    found = answers_of(asked("team/it", "one two three " * 40, "--tokens", "256", "--json"))["a"]

    assert (found["is_cut"], found["given_tokens"]) == (True, 32)
    assert found["tokens"] <= 32


def test_a_hurried_hand_is_told_what_is_missing(user, pushed):
    pushed(judged.writer)
    cases = {
        ("team/it",): "a version and a prompt are asked for",
        ("team/it", ""): "it is empty, and a prompt says something",
        ("team/it:v1", "hello", "there"): "put all of the prompt in quotes",
        ("team/it:v9", "hi"): "there is no version team/it:v9",
        ("team/it:v1", "team/it:v1", "hi"): "is named twice",
        ("team/it", "x" * 8_001): "at most 8000 characters",
        ("--show", "team/it", "hi"): "--show asks nothing",
    }

    for words, told in cases.items():
        found = user("ask", *words)

        assert found.status != 0, words
        assert told in " ".join(found.err.split()), (words, found.err)


def test_a_question_that_nobody_has_answered_yet_is_waited_for_later(user, pushed, find, local_registry):
    pushed(judged.writer)

    left = user("ask", "team/it", PROMPT, "--tokens", "2", "--timeout", "0s")
    (run,) = [run for run in local_registry.client().runs.list() if run.what == "answer"]
    find(local_registry.client().runs.show(run.id))
    later = user("ask", "--show", run.id, "--json")
    gone = user("ask", "team/it", PROMPT, "--timeout", "0s")
    queued = local_registry.client().runs.list(state="queued")
    (waits,) = [run for run in queued if run.what == "answer"]
    user("verdict", "cancel", waits.id)
    cancelled = user("ask", "--show", waits.id)

    assert left.status == 124
    assert f"deltareg ask --show {run.id}" in left.err
    assert answers_of(later)["a"]["given"] == PROMPT
    assert gone.status == 124
    assert cancelled.status != 0
    assert "nothing was answered" in cancelled.err
