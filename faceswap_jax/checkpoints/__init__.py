"""What a run has saved. Nothing here knows a task."""
