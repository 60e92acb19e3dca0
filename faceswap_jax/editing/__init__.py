"""Editing of performances: adjustment vectors, their strengths over time."""
