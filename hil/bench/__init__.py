"""The bench: roles that a test speaks to, and the drivers behind them (simulated, SCPI, by hand). See docs/bench.md."""
