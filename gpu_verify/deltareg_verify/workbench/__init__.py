"""What people run by hand beside a training: pilot, backtest, probe, compare, record outputs."""
