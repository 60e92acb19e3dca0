"""Frozen networks that are given from outside: their files, checked, and what they compute."""
