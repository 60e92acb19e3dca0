"""What is trained: one file per system, each with a class `Task` that fulfils `base.Task`."""
