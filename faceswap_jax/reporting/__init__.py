"""What a run tells people while it is under way."""
