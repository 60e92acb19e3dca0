"""What the loop runs, and the folder that it runs in."""
