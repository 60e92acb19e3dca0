"""Puppets: a procedural face world with exact ground truth. Pure NumPy, deterministic from integers."""
