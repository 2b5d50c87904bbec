"""Default texts for recording outputs: short, of several kinds.

Written for this purpose. They measure nothing: any text that passes through every part of a network
is enough, and several kinds reach more rows of the embedding than one.
"""

PROMPTS = (
    "The registry keeps every version of a delta and never changes one.",
    "Wer den Fluss im Winter überquert, nimmt die Brücke und nicht das Eis.",
    "def total(prices, tax=0.2):\n    return sum(prices) * (1 + tax)\n",
    "Question: what is 17 + 25, and why?\nAnswer: 17 + 25 = 42, because",
)
"""In the order that they are run, each in a forward of its own."""
