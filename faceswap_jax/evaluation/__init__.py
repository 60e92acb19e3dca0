"""Measures of results, and their tables and pictures."""
