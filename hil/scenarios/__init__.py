"""Scenarios: a course of grid, load, car and faults as TOML, and what must hold. See docs/scenarios.md."""
