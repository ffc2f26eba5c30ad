"""Recorded data, see README.md in this directory."""
