"""Models that leave the workshop: what is exported, and what runs it."""
