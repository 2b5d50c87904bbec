"""The class that a delta's own head makes of its base: from its config, never from a guess."""

import numpy as np
import pytest

from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Addition, BaseView, DeltaFiles, NetworkClass, WeightUpdate
from deltareg.delta.maths.updates import Replacement
from deltareg.delta.names import name_map_for
from deltareg.delta.network_class import network_class_of, view_as
from deltareg.delta.shapes import HeaderTensor
from deltareg.digest import sha256_of
from deltareg.identity.fingerprint import TensorRecord
from deltareg.tensors.header import TensorInfo
from tests.verify.held import Held

PLAIN = {"model_type": "bert", "architectures": ["BertModel"]}


def base_of(**config):
    """Give a base that holds a classifier only where its class does."""
    config = {**PLAIN, **config}
    return BaseView(sha256_of(b""), {}, config, name_map_for(config, ["classifier.weight"]))


def files(**documents):
    """Give a delta's documents, as its reader sees them."""
    named = {name.replace("__", "."): content for name, content in documents.items()}
    return DeltaFiles({}, {}, named)


def head(rows=3, name="classifier", width=8):
    """Give a new head's effects."""
    weight, bias = Held("t", np.zeros((rows, width))), Held("t", np.zeros(rows))
    return [Addition(f"{name}.weight", weight, {}), Addition(f"{name}.bias", bias, {})]


@pytest.mark.parametrize(
    ("task", "architecture"),
    [
        ("SEQ_CLS", "BertForSequenceClassification"),
        ("TOKEN_CLS", "BertForTokenClassification"),
        ("QUESTION_ANS", "BertForQuestionAnswering"),
    ],
)
def test_a_task_of_pefts_is_a_class_of_the_bases_type(task, architecture):
    found = network_class_of(head(), files(adapter_config__json={"task_type": task}), base_of())

    assert found == NetworkClass(architecture, ("LABEL_0", "LABEL_1", "LABEL_2"))


def test_a_class_that_the_config_names_goes_before_its_task():
    config = {"task_type": "SEQ_CLS", "auto_mapping": {"base_model_class": "BertForMultipleChoice"}}

    found = network_class_of(head(1), files(adapter_config__json=config), base_of())

    assert found is not None
    assert found.architecture == "BertForMultipleChoice"


def test_the_head_of_the_adapters_library_brings_its_labels():
    told = {"model_class": "BertForSequenceClassification", "label2id": {"no": 1, "yes": 0, "perhaps": 2}}

    found = network_class_of(head(), files(head_config__json=told), base_of())

    assert found is not None
    assert found.labels == ("yes", "no", "perhaps")


@pytest.mark.parametrize("labels", [{"no": 1, "yes": 1, "perhaps": 2}, {"yes": 0}, {"a": "b"}, []])
def test_labels_that_do_not_number_the_heads_rows_are_left_out(labels):
    told = {"model_class": "BertForSequenceClassification", "label2id": labels}

    found = network_class_of(head(), files(head_config__json=told), base_of())

    assert found is not None
    assert found.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"task_type": "FEATURE_EXTRACTION"},
        {"task_type": 7},
        {"auto_mapping": {"base_model_class": "os.system"}},
        {"auto_mapping": {"base_model_class": "GPT2ForSequenceClassification"}},
        {"auto_mapping": ["BertForSequenceClassification"]},
    ],
)
def test_what_names_no_class_of_the_bases_type_tells_none(config):
    assert network_class_of(head(), files(adapter_config__json=config), base_of()) is None


def test_a_delta_without_a_head_of_its_own_leaves_the_class_alone():
    config = {"task_type": "SEQ_CLS"}

    assert network_class_of([], files(adapter_config__json=config), base_of()) is None


def test_a_head_of_another_size_changes_the_labels_and_not_the_class():
    base = base_of(architectures=["BertForSequenceClassification"], id2label={"0": "a", "1": "b"})
    other = WeightUpdate("classifier.weight", Replacement(Held("t", np.zeros((4, 8)))), {}, shape=(4, 8))

    found = network_class_of([other], files(), base)

    assert found is not None
    assert (found.architecture, len(found.labels)) == ("BertForSequenceClassification", 4)


def test_a_folded_config_says_class_and_labels_and_keeps_what_it_said_rightly():
    found = NetworkClass("BertForSequenceClassification", ("no", "yes", "perhaps"))
    folding = FoldedBase(head(), {}, network_class=found)

    changes = folding.config_changes(PLAIN)

    assert changes == {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "no", "1": "yes", "2": "perhaps"},
        "label2id": {"no": 0, "yes": 1, "perhaps": 2},
    }
    own = {"architectures": [found.architecture], "id2label": {"0": "x", "1": "y", "2": "z"}}
    assert folding.config_changes(own) == {}


def test_two_labels_are_what_a_config_means_that_names_none():
    found = NetworkClass("BertForSequenceClassification", ("LABEL_0", "LABEL_1"))

    assert found.changes(PLAIN) == {"architectures": ["BertForSequenceClassification"]}


def test_a_base_seen_as_another_class_has_its_names():
    seen = view_as(base_of(), NetworkClass("BertForSequenceClassification"))

    assert seen.names.architecture == "BertForSequenceClassification"
    held = "encoder.layer.0.output.dense.bias"
    assert seen.names.memory(held) == f"bert.{held}"


def test_rows_beyond_counting_are_not_given_names():
    info = TensorInfo("t", "F16", (1 << 40, 1), 0, 2 << 40)
    added = Addition("classifier.weight", HeaderTensor(info), {})
    config = {"task_type": "SEQ_CLS"}

    found = network_class_of([added], files(adapter_config__json=config), base_of())

    assert found == NetworkClass("BertForSequenceClassification")


def grown_base(config):
    """Give a base with an embedding of 40 rows and a classifier of two."""
    records = {
        name: TensorRecord(name, "F32", shape, sha256_of(name.encode()))
        for name, shape in {"embed.weight": (40, 8), "classifier.weight": (2, 8)}.items()
    }
    return BaseView(sha256_of(b""), records, config, name_map_for(config, records))


def resized(name, rows):
    """Give a weight that has more rows now."""
    shape = (rows, 8)
    return WeightUpdate(name, Replacement(Held("t", np.zeros(shape))), {}, shape=shape)


def test_a_config_of_a_grown_vocabulary_loads_the_base_with_the_size_that_it_has():
    inner = {"vocab_size": 40, "eos_token_id": [2, 3], "eps": 0.1}
    base = grown_base({**PLAIN, "text_config": inner})
    own = {"vocab_size": 43, "eos_token_id": [2, 41], "bos_token_id": 42, "eps": 0.2}

    found = network_class_of(
        [resized("embed.weight", 43)], files(config__json={**PLAIN, "text_config": own, "image_token_id": 39}), base
    )

    assert found is not None
    assert found.config == {
        **PLAIN,
        "image_token_id": 39,
        "text_config": {"vocab_size": 40, "eos_token_id": [2, 3], "eps": 0.2},
    }


def test_a_config_that_a_grown_vocabulary_alone_changed_is_the_bases():
    base = grown_base({**PLAIN, "vocab_size": 40})
    own = files(config__json={**PLAIN, "vocab_size": 43, "pad_token_id": 42})

    assert network_class_of([resized("embed.weight", 43)], own, base) is None


def test_a_head_of_another_size_leaves_tokens_alone_and_is_told_if_the_config_does_not():
    classifier = {**PLAIN, "architectures": ["BertForSequenceClassification"], "pad_token_id": 0}
    own = files(config__json={**classifier, "pad_token_id": 7})

    found = network_class_of([resized("classifier.weight", 4)], own, grown_base(classifier))

    assert found is not None
    assert found.config == {**classifier, "pad_token_id": 7}
    assert len(found.labels) == 4
