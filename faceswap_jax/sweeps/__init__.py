"""Searches for hyperparameters: what a sweep file says, and the trials that it leads to."""
