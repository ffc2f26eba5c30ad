"""Conformance: stimuli and verdicts for the clauses of the grid codes."""
