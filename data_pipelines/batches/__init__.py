"""From records to batches, addressed by step."""
