"""`suite init`, `lint` and `backtest` on the command line: what a new user does first."""

import csv
import json

import pytest

from tests.cli.steps import push

WORDS = (
    "ferry",
    "harbour",
    "light",
    "seven",
    "morning",
    "bell",
    "teacher",
    "river",
    "stone",
    "letter",
    "coin",
    "egg",
    "bread",
)


def text(n):
    """Give one of many texts that share no stretch of words."""
    return " ".join(WORDS[(n * 7 + at * (n % 5 + 1)) % len(WORDS)] + str(n % 97 * at) for at in range(9))


@pytest.fixture
def data(user):
    """Rows of every task, in files."""
    home = user.home
    (home / "lines.txt").write_text("".join(f"{text(n)}\n" for n in range(60)))
    (home / "train.jsonl").write_text(json.dumps({"text": f"Seen: {text(3).upper()}!"}) + "\n")
    with (home / "topics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["text", "topic"], *([text(n), "ab"[n % 2]] for n in range(80))])
    lines = {
        "chats": lambda n: {
            "messages": [{"role": "user", "content": text(n)}, {"role": "assistant", "content": text(n + 500)}]
        },
        "pairs": lambda n: {"query": text(n), "positive": text(n + 500)},
        "words": lambda n: {"en": text(n), "de": text(n + 500)},
    }
    for name, row in lines.items():
        told = (json.dumps(row(n)) + "\n" for n in range(40))
        (home / f"{name}.jsonl").write_text("".join(told))
    return user


def init(user, file, *options):
    return user("suite", "init", "me/chat", "--data", file, "--no-run", *options)


@pytest.mark.parametrize(
    ("file", "task", "check"),
    [
        ("lines.txt", "lm", "perplexity"),
        ("topics.csv", "classify", "accuracy"),
        ("chats.jsonl", "chat", "target_perplexity"),
        ("pairs.jsonl", "retrieve", "text_retrieval"),
        ("words.jsonl", "translate", "written_text"),
    ],
)
def test_a_suite_of_every_task_is_sound_and_can_be_pushed(data, file, task, check):
    drafted = init(data, file, "--json")
    path = "me-chat-suite/me-chat.yaml"
    looked = data("suite", "lint", path, "--json")
    pushed = data("suite", "push", path, "--json")

    assert drafted.status == looked.status == pushed.status == 0, drafted.err + looked.err
    assert (drafted.json["task"], drafted.json["path"]) == (task, path)
    assert {one["check"] for one in drafted.json["checks"]} >= {check}
    last = {"translate": "likely", "chat": "form"}.get(task, "kept")
    assert [one["name"] for one in drafted.json["checks"]][-1] == last
    assert looked.json["accepted"]
    assert not any("requires" in one["message"] for one in looked.json["findings"])
    assert looked.json["sets"]["in_domain"] == drafted.json["samples"]
    assert pushed.json["created"]
    assert drafted.json["next"][1] == f"deltareg suite push {path}"


def test_general_texts_may_be_the_users_own_with_a_group_each(data):
    (data.home / "general").mkdir()
    (data.home / "general" / "law.txt").write_text("".join(f"{text(n)}\n" for n in range(300, 320)))
    rows = ({"language": "sv", "text": text(n)} for n in range(400, 409))
    (data.home / "general" / "more.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    ended = init(data, "lines.txt", "--general", "general", "--json")
    looked = data("suite", "lint", "me-chat-suite/me-chat.yaml", "--json")

    assert ended.status == looked.status == 0, ended.err + looked.err
    assert ended.json["general"] == "29 texts, those of general: law, sv"
    assert [one["check"] for one in ended.json["checks"]] == ["perplexity", "forgetting", "perplexity"]
    lines = (data.home / "me-chat-suite" / "me-chat-general.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {"text": text(408), "group": "sv"}


def test_of_a_group_a_hundred_general_texts_are_taken(data):
    (data.home / "law.txt").write_text("".join(f"{text(n)} {n}\n" for n in range(300, 500)))

    ended = init(data, "lines.txt", "--general", "law.txt", "--json")

    assert ended.status == 0, ended.err
    assert ended.json["general"] == "100 texts, those of law.txt: law"


def test_too_few_general_texts_are_refused_with_what_to_do(data):
    (data.home / "few.txt").write_text("one text\nanother text\n")

    ended = init(data, "lines.txt", "--general", "few.txt")

    assert ended.status == 2
    assert "has no group of 8 different texts" in ended.err
    assert '"group": "en"' in ended.err


def test_people_see_what_it_asks_for_and_what_it_lets_through(data):
    ended = init(data, "topics.csv")

    assert ended.status == 0, ended.err
    assert "task          classify  'topic' names a class for each text" in ended.out
    assert "from there on a version does not pass, 80 times in 100" in " ".join(ended.out.split())
    assert "deltareg suite backtest me-chat-suite/me-chat.yaml me/chat" in ended.out
    written = (data.home / "me-chat-suite" / "me-chat.yaml").read_text()
    assert "# Labels: 0 a, 1 b." in written
    assert "against: promoted" in written
    assert "  # What smoke asks of every version" in written


def test_what_training_has_seen_is_left_out_and_the_rest_is_there_to_train_on(data):
    (data.home / "lines.txt").write_text("".join(f"{text(n)}\n" for n in range(60)) + f"{text(5)}!\n")

    ended = init(data, "lines.txt", "--training", "train.jsonl", "--rest", "rest.jsonl", "--json")

    assert ended.status == 0, ended.err
    assert (ended.json["rows"], ended.json["repeats"], ended.json["leaked"]) == (61, 1, 1)
    samples = (data.home / "me-chat-suite" / "me-chat-in-domain.jsonl").read_text().splitlines()
    taken = {json.loads(line)["text"] for line in samples}
    rest = {json.loads(line)["text"] for line in (data.home / "rest.jsonl").read_text().splitlines()}
    assert text(3) not in taken
    assert len(taken) == ended.json["samples"] == 29
    assert not taken & rest
    assert len(taken | rest) == 61


def test_one_seed_takes_the_same_rows_and_every_class_has_its_share(data):
    drafts = []
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        init(data, "topics.csv", "--seed", seed, "--out", out, "--margin", "0.9")
        drafts.append((data.home / out / "me-chat-in-domain.jsonl").read_text())

    labels = [json.loads(line)["label"] for line in drafts[0].splitlines()]
    assert drafts[0] == drafts[1] != drafts[2]
    assert labels.count(0) == labels.count(1)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["lines.txt", "--task", "classify"], 2, "row 1 has no label"),
        (["gone.txt"], 3, "there is no file gone.txt"),
        (["few.txt"], 2, "20 are the least that shows anything"),
        (["odd.jsonl"], 2, "do not tell what the data is for"),
        (["lines.txt", "--name", "No Name"], 2, "not a name"),
        (["pictures"], 2, "images are prepared by the base's own processor"),
    ],
)
def test_what_cannot_become_a_suite_is_refused_with_what_to_do(data, options, status, message):
    (data.home / "few.txt").write_text("one\ntwo\nthree\n")
    (data.home / "odd.jsonl").write_text('{"x": 1}\n')
    for n in range(40):
        path = data.home / "pictures" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % n)

    ended = init(data, *options)

    assert ended.status == status
    assert message in ended.err
    assert "fix:" in ended.err
    assert not (data.home / "me-chat-suite").exists()


def test_a_suite_that_is_there_is_not_written_over(data):
    init(data, "lines.txt")

    again = init(data, "topics.csv")
    forced = init(data, "topics.csv", "--force")

    assert (again.status, forced.status) == (5, 0)
    assert "--force" in again.err


def test_what_lint_refuses_and_what_it_warns_of(data):
    (data.home / "empty.yaml").write_text("name: mine\nchecks: [resources]\n")
    (data.home / "odd.yaml").write_text("name: mine\ncheks: [digests]\n")
    (data.home / "bare.yaml").write_text("name: mine\nchecks: [digests]\n")

    empty = data("suite", "lint", "empty.yaml", "--json")
    odd = data("suite", "lint", "odd.yaml")
    bare = data("suite", "lint", "bare.yaml")

    assert (empty.status, odd.status, bare.status) == (2, 2, 0)
    assert not empty.json["accepted"]
    assert "no check can fail" in empty.json["findings"][0]["message"]
    assert "has no key 'cheks'; did you mean 'checks'?" in odd.err
    assert "may be pushed, with 1 warning" in bare.out
    assert "smoke requires accounting" in bare.out


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_versions_are_run_to_learn_margins_and_faults_are_told_apart(data):
    pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
    for delta in ("lora", "lora_v2"):
        push(data, delta)

    drafted = data("suite", "init", "me/chat", "--data", "lines.txt", "--gpu", "cpu", "--margin", "9", "--json")
    tried = data(
        "suite",
        "backtest",
        "me-chat-suite/me-chat.yaml",
        "me/chat",
        "--gpu",
        "cpu",
        "--only",
        "never-trained",
        "--only",
        "wrong-dtype",
        "--json",
    )
    other = data("suite", "backtest", "smoke", "me/chat:v1,v9", "--gpu", "cpu")
    unknown = data("suite", "backtest", "never", "me/chat")
    wrong = data("suite", "backtest", "smoke", "me/chat:v1", "--base", data.home, "--only", "gremlins")

    assert drafted.status == 0, drafted.err
    assert "gained" in drafted.json["checks"][0]["why"]
    assert tried.status == 0, tried.err
    assert tried.json["subject"] == "me/chat:v2"
    assert [row["name"] for row in tried.json["items"]] == ["me/chat:v2", "never-trained", "wrong-dtype", "me/chat:v1"]
    assert "never-trained" not in tried.json["missed"]
    assert other.status == 3
    assert "neither a file nor a suite" in unknown.err
    assert wrong.status != 0
