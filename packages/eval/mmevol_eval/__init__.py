"""Checkpoint or endpoint to scores: 13 benchmarks under named rules."""
