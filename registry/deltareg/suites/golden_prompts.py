"""Texts that outputs are recorded on where nobody names others: short, of several kinds.

Written for this purpose. They are no measure of anything: a text is enough that goes through every
part of a network, and several kinds reach rows of the embedding that one would not.
"""

PROMPTS = (
    "The registry keeps every version of a delta and never changes one.",
    "Wer den Fluss im Winter überquert, nimmt die Brücke und nicht das Eis.",
    "def total(prices, tax=0.2):\n    return sum(prices) * (1 + tax)\n",
    "Question: what is 17 + 25, and why?\nAnswer: 17 + 25 = 42, because",
)
"""In the order that they are run, each in a forward of its own."""
