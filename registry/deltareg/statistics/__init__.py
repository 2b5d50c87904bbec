"""Statistics of comparisons: intervals with coverage, looks that share an error, power.

Closed forms on NumPy alone, without random draws: the same samples give the same interval
everywhere, at any level. `intervals` has intervals of measures, `looks` the rules for looking
before all samples are in, `trial` decisions by a margin, and `power` the numbers of samples needed.
How well they cover is measured in docs/statistics.md.

Everywhere, `tail` is the error on one side: an interval with a tail of 0.025 on each is a 95 % one.
"""
