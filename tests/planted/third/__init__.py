"""The third planted set: two bases of other families, forty ways to break a delta, a gate at work.

    python -m tests.planted.third make KEPT                 # train, keep, measure damage; no gate
    python -m tests.planted.third expect KEPT               # write held_out.json, before any gate
    python -m tests.planted.third judge KEPT OUT            # put the tuning half before the gate
    python -m tests.planted.third judge KEPT OUT --half held-out
    python -m tests.planted.third page KEPT OUT             # write docs/planted-third.md
    python -m tests.planted.front                           # write docs/planted.md from three pages

How it is meant to be used:

- `make` trains both halves from seeds and says what every fault costs, by torch and peft alone. It
  knows nothing of the gate. KEPT holds all of it; what is there is not made again.
- `expect` writes which items of the held-out half are material. The file is in the repository
  (`held_out.json`, with its digest), so that nobody can choose them after the gate was seen.
- `judge` drafts a suite of 50 and of 200 rows for each line as `deltareg suite init` does, and runs
  `smoke` and both suites over each item. OUT keeps what was said, in a folder for each state of the
  checks' code; delete nothing there.
- Rules may be set by the tuning half. **Whoever looks at the held-out half's judgements, changes no
  rule for it.** Measure it once on the final code, write the page, and leave it.

`-j 2` takes two processes; `--places route/lora-all,…` and `--faults noise_25,…` take a part. Both
halves take about half an hour of two busy cores: 12 minutes to make, 19 to judge.
"""
