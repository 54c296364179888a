"""One self-contained page about a run, with its tables and pictures beside it."""
