"""Losses and similarity measures: pure functions of arrays."""
