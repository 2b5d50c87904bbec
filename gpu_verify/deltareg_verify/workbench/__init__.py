"""Commands that people run beside a training: pilot, backtest, probe, compare, record outputs."""
