"""A comparison of behavior made of values, plain and hostile."""

from deltareg.client.report_files.behavior_facts import BehaviorComparison


def interval(value, low, high, n=4):
    """Make a measure with its interval."""
    return {"value": value, "low": low, "high": high, "n": n}


def document(text="The film was", *, samples=4, **fields):
    """Make the document of a comparison, with a text of somebody's in every place for one."""
    by_sample = [
        {"set": text, "number": n, "kl": n / 10, "agreement": 1 - n / samples, "cosine": None}
        for n in range(1, samples + 1)
    ]
    said = {"a": f"{text} says it.", "b": f"{text} said it.", "parts_at_token": 2, "parts_at": 9}
    same = {"a": text, "b": text, "parts_at_token": None, "parts_at": None}
    given = {
        "a": "me/chat:v1",
        "b": "me/chat:v2",
        "is_different": True,
        "source": "prompts",
        "samples": samples,
        "kl": interval(0.25, 0.2, 0.3),
        "agreement": interval(0.5, 0.4, 0.6),
        "mean_abs": interval(0.1, None, None),
        "cosine": None,
        "by_sample": by_sample,
        "prompts": [
            {**one, "text": text, "places": 3, "mean_abs": 0.1, "continued": continued}
            for one, continued in zip(reversed(by_sample), (said, same), strict=False)
        ],
        "measures": [
            {
                "name": text,
                "measure": "perplexity",
                "set": text,
                "change_is": "factor",
                "a": interval(40.0, 38, 42),
                "b": interval(48.0, 45, 51),
                "change": interval(1.2, 1.1, 1.3),
                "is_decided": True,
            },
            {
                "name": "accuracy",
                "measure": "accuracy",
                "set": text,
                "change_is": "difference",
                "a": interval(0.8, 0.7, 0.9),
                "b": interval(0.79, 0.7, 0.9),
                "change": interval(-0.01, -0.1, 0.08),
                "is_decided": False,
            },
            dict.fromkeys(("a", "b", "change", "change_is", "is_decided"))
            | {"name": "recall", "measure": "retrieval", "set": text},
        ],
        "notes": [text],
        "same_base": False,
        "device": text,
        "dtype": "F32",
    }
    return given | fields


def behavior(text="The film was", **fields):
    """Make a comparison."""
    return BehaviorComparison.model_validate(document(text, **fields))
