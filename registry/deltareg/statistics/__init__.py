"""Statistics of comparisons: intervals that cover, looks that share an error, Holm, power.

Closed forms on NumPy alone, nothing is drawn: the same samples give the same interval everywhere,
at any level. `intervals` has what surrounds a measure, `looks` when one may look before all samples
are in, `trial` what follows from a margin, `family` what several comparisons ask for together, and
`power` how many samples it takes. How well they cover is measured in docs/statistics.md.

Everywhere, `tail` is the error on one side: an interval with a tail of 0.025 on each is a 95 % one.
"""
