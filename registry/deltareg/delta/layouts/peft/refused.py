"""Types of the peft library that no kind reads, and why: users learn it before they serve the base."""

REASONS = {
    "ADAMSS": (
        "it is not self-contained: which outputs each of its factors adds to follows from a"
        " clustering of the base's weight that is not saved"
    ),
    "MULTITASK_PROMPT_TUNING": (
        "it multiplies its prompt with factors of a task whose number comes with each input: for one task, save"
        " prompt_embeddings * (prefix_task_cols[TASK] @ prefix_task_rows[TASK]) as a delta of PROMPT_TUNING"
    ),
    "OSF": (
        "it is not self-contained: it replaces singular components that are worked out from the"
        " base on every load, and those of nearly equal size come out differently"
    ),
    "POLY": "it mixes its factors by a task whose number comes with each input",
    "PSOFT": (
        "it is not self-contained: it turns singular vectors of the base's weight that are worked"
        " out on every load, and their signs are arbitrary"
    ),
    "SHADOW": "it runs a second, smaller network beside the base, which is not supported",
    "XLORA": "it mixes several LoRAs, which are other deltas, by a classifier of its own",
}


def reason(peft_type: str) -> str:
    """Return why a type is not read; empty for one that is read or that the library does not have."""
    return REASONS.get(peft_type, "")
