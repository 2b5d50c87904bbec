"""Embedders, rerankers, classifiers and translators, beside what other libraries make of them."""

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
torch = judged.torch
from deltareg.errors import InvalidInput  # noqa: E402
from deltareg.suites.samples import RankingCandidates, Samples  # noqa: E402
from deltareg_verify.engine.measures.ranking import ndcg, recall, reciprocal_rank, spearman  # noqa: E402

QUERIES = ("one red cat", "two blue dog", "the old sea", "new hill near")
TEXTS = (
    "red cat sits",
    "blue dog runs",
    "sea is far",
    "hill and sea",
    "three green",
    "not the dog",
    "cat and dog",
    "old old old",
)
RANKED = Samples(
    QUERIES,
    candidates=(
        RankingCandidates(TEXTS[:1], TEXTS[4:7]),
        RankingCandidates(TEXTS[1:3], TEXTS[5:]),
        RankingCandidates((TEXTS[2], TEXTS[7]), TEXTS[:2]),
        RankingCandidates(TEXTS[3:4], TEXTS[4:6]),
    ),
)
FEW = "parameters: {least_samples: 1"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return judged.encoder(tmp_path_factory.mktemp("embedder"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return judged.encoder(tmp_path_factory.mktemp("classifier"), labels=3)


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return judged.translator(tmp_path_factory.mktemp("translator"))


@pytest.mark.parametrize(("measure", "within"), [("recall", 2), ("mrr", 10), ("ndcg", 10)])
def test_texts_find_what_the_library_finds(embedder, cache_dir, measure, within):
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    corpus = list(dict.fromkeys(t for c in RANKED.candidates for t in (*c.relevant, *c.others)))
    theirs = [judged.vectors(embedder.network, embedder.tokenizer, x) for x in (QUERIES, corpus)]
    wanted = []
    for row, one in zip(theirs[0] @ theirs[1].T, RANKED.candidates, strict=True):
        truth = np.array([text in one.relevant for text in corpus])
        order = np.argsort(-row)
        wanted.append(
            {
                "recall": truth[order[:2]].sum() / truth.sum(),
                "mrr": 1 / (1 + int(np.flatnonzero(truth[order])[0])),
                "ndcg": metrics.ndcg_score([truth], [row], k=10),
            }[measure]
        )

    finding = judged.check(
        embedder.case(cache_dir, RANKED), "text_retrieval", f"{FEW}, measure: {measure}, within: {within}}}"
    )

    assert finding.verdict == "pass", finding.detail
    assert finding.value == pytest.approx(np.mean(wanted))
    assert finding.baseline is not None


def test_cosines_are_ranked_as_scipy_ranks_them(embedder, cache_dir):
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    scores = np.array([0.1, 0.9, 0.9, 0.4])
    samples = Samples(QUERIES, partners=TEXTS[:4], scores=scores)
    both = [judged.vectors(embedder.network, embedder.tokenizer, x) for x in (QUERIES, TEXTS[:4])]
    wanted = stats.spearmanr((both[0] * both[1]).sum(1), scores).statistic

    finding = judged.check(embedder.case(cache_dir, samples), "similarity", FEW + "}")

    assert finding.value == pytest.approx(wanted)


def test_pooling_is_what_was_asked_for(embedder, cache_dir):
    samples = Samples(QUERIES, partners=TEXTS[:4], scores=np.arange(4.0))
    cosines = []
    with torch.no_grad():
        for pair in zip(QUERIES, TEXTS, strict=False):
            a, b = (embedder.network(**embedder.tokenizer(t, return_tensors="pt")).last_hidden_state[0] for t in pair)
            cosines.append(float(torch.cosine_similarity(a[0], b[0], dim=0)))
    wanted = spearman(np.array([cosines, np.arange(4.0)]).T)

    finding = judged.check(embedder.case(cache_dir, samples), "similarity", FEW + ", pooling: cls}")

    assert finding.value == pytest.approx(wanted)


@pytest.mark.parametrize("labels", [1, 2])
def test_pairs_are_ranked_by_the_head_that_the_delta_brings(tmp_path, cache_dir, labels):
    one = judged.encoder(tmp_path, labels=labels)
    wanted = []
    with torch.no_grad():
        for query, given in zip(QUERIES, RANKED.candidates, strict=True):
            texts = [*given.relevant, *given.others]
            pairs = one.tokenizer([query] * len(texts), texts, return_tensors="pt", padding=True)
            logits = one.network(**pairs).logits
            scores = logits[:, -1] - logits[:, 0] if labels == 2 else logits[:, 0]
            relevant = np.arange(len(texts)) < len(given.relevant)
            best = 1 + int((scores.numpy() > scores.numpy()[relevant].max()).sum())
            wanted.append(1 / best)

    finding = judged.check(one.case(cache_dir, RANKED), "reranking", FEW + ", measure: mrr}")

    assert finding.value == pytest.approx(np.mean(wanted))


def test_ranks_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    random = np.random.default_rng(0)
    for _ in range(50):
        scores, relevant = random.normal(size=12), random.random(12) < 0.3
        relevant[random.integers(12)] = True

        found = ndcg(scores, relevant, within=5)

        assert found == pytest.approx(metrics.ndcg_score([relevant], [scores], k=5))
        average = metrics.label_ranking_average_precision_score([relevant], [scores])
        assert (reciprocal_rank(scores, relevant, within=12) == 1) >= (average == 1)


def test_one_score_for_all_and_no_number_rank_nothing():
    relevant = np.array([True, False, False, False])

    assert recall(np.ones(4), relevant, within=1) == 0
    assert reciprocal_rank(np.full(4, np.nan), relevant, within=4) == 0
    assert ndcg(np.array([np.nan, 1, 2, 3]), relevant, within=4) == 0
    assert np.isnan(spearman(np.array([[1, 1], [1, 2], [1, 3]], float)))


def labelled(count=24):
    random = np.random.default_rng(1)
    texts = tuple(" ".join(random.choice(judged.WORDS[4:], 5)) for _ in range(count))
    return Samples(texts, labels=(np.arange(count) % 4 > 2).astype(np.int64) + np.arange(count) % 2)


def test_classes_count_alike(classifier, cache_dir):
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    samples = labelled()
    with torch.no_grad():
        said = [
            int(classifier.network(**classifier.tokenizer(t, return_tensors="pt")).logits.argmax())
            for t in samples.texts
        ]
    shares = [np.bincount(x) / len(x) for x in (said, samples.labels)]
    classes = np.unique(samples.labels)
    by_class = metrics.recall_score(samples.labels, said, average=None, labels=classes)
    wanted = {
        "balanced_accuracy": metrics.balanced_accuracy_score(samples.labels, said),
        "worst_recall": by_class.min(),
        "evenness": min(1, stats.entropy(shares[0]) / stats.entropy(shares[1])),
    }
    case = classifier.case(cache_dir, samples)

    found = {name: judged.check(case, "class_balance", f"{FEW}, measure: {name}}}") for name in wanted}

    assert {name: one.value for name, one in found.items()} == pytest.approx(wanted)
    assert all("recall by class" in one.detail for one in found.values())


def test_a_classifier_that_says_one_thing_only_fails(classifier, cache_dir, tmp_path):
    """Its accuracy may still be high, where most samples are of one class."""
    from safetensors.torch import load_file, save_file

    for file in classifier.delta.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    bias = next(name for name in tensors if name.endswith("classifier.bias"))
    tensors[bias] = torch.tensor([50.0, 0.0, 0.0])
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    rare = Samples(labelled(40).texts, labels=(np.arange(40) < 2).astype(np.int64))
    case = judged.Judged(classifier.base, tmp_path, None, None).case(cache_dir, rare)

    balance = judged.check(case, "class_balance", "threshold: {threshold: 0.75}")
    plain = judged.check(case, "accuracy", "threshold: {threshold: 0.75}")

    assert (plain.verdict, plain.value) == ("pass", 0.95)
    assert (balance.verdict, balance.value) == ("fail", 0.5)


PAIRS = Samples(QUERIES, targets=("cat runs", "the dog is old", "far", "near the hill"))


def test_targets_are_as_likely_as_the_library_says(translator, cache_dir):
    total, tokens = 0.0, 0
    with torch.no_grad():
        for text, target in zip(PAIRS.texts, PAIRS.targets, strict=True):
            given = translator.tokenizer(text, return_tensors="pt")
            labels = translator.tokenizer(target, return_tensors="pt")["input_ids"]
            loss = translator.network(
                input_ids=given["input_ids"], attention_mask=given["attention_mask"], labels=labels
            ).loss
            total, tokens = total + float(loss) * labels.shape[1], tokens + labels.shape[1]

    finding = judged.check(translator.case(cache_dir, PAIRS), "target_perplexity", FEW + "}")

    assert finding.value == pytest.approx(np.exp(total / tokens), rel=1e-5)


def generated(one, samples, count):
    """Have the library write for each text."""
    found = []
    for text in samples.texts:
        given = one.tokenizer(text, return_tensors="pt")
        given = {name: given[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad(), judged.small_networks.quiet():
            made = one.network.generate(**given, do_sample=False, max_new_tokens=count)
        found.append(one.tokenizer.decode(made[0], skip_special_tokens=True))
    return found


def test_what_is_written_is_scored_as_the_libraries_score_it(translator, cache_dir):
    bleu = pytest.importorskip("sacrebleu", reason="needs sacrebleu: pip install 'deltareg[texts]'")
    rouge = pytest.importorskip("rouge_score.rouge_scorer", reason="needs rouge-score")
    said = generated(translator, PAIRS, 4)
    targets = tuple(f"{text} dog".replace("the", "old", 1) for text in said)
    scorer = rouge.RougeScorer(["rougeL", "rouge2"])
    scores = {
        "chrf": lambda a, b: bleu.sentence_chrf(a, [b]).score,
        "chrf++": lambda a, b: bleu.sentence_chrf(a, [b], word_order=2).score,
        "ter": lambda a, b: bleu.sentence_ter(a, [b]).score,
        "rouge_l": lambda a, b: scorer.score(b, a)["rougeL"].fmeasure,
        "rouge_2": lambda a, b: scorer.score(b, a)["rouge2"].fmeasure,
    }
    case = translator.case(cache_dir, Samples(PAIRS.texts, targets=targets))

    found = {name: judged.check(case, "written_text", f"{FEW}, measure: {name}, new_tokens: 4}}") for name in scores}

    for name, score in scores.items():
        mean = np.mean([score(a, b) for a, b in zip(said, targets, strict=True)])
        assert found[name].value == pytest.approx(mean), name
    assert found["chrf"].value != found["chrf"].baseline


def test_a_head_that_nobody_runs_is_not_judged(classifier, cache_dir, tmp_path):
    from safetensors.torch import save_file

    tensors = {
        "classifier.weight": torch.randn(5, 9),
        "classifier.bias": torch.randn(5),
        "encoder.layer.0.attention.output.dense.bias": torch.randn(16),
    }
    save_file(tensors, tmp_path / "delta.safetensors", metadata={"convention": "absolute"})
    odd = judged.Judged(classifier.base, tmp_path, None, None)
    case = odd.case(cache_dir, labelled(), convention="absolute")

    for name in ("accuracy", "class_balance"):
        finding = judged.check(case, name, FEW + "}, threshold: {threshold: 0.1}")

        assert finding.verdict == "skipped", finding.detail
        assert "no class here runs classifier.bias" in finding.detail


def test_samples_that_lack_what_a_check_needs_are_told(embedder, cache_dir):
    case = embedder.case(cache_dir, Samples(QUERIES))

    with pytest.raises(InvalidInput, match="the samples have no candidates"):
        judged.check(case, "reranking")
