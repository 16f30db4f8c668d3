"""The engine: everything that is decided about a run, and no I/O."""
