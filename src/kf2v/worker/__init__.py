"""Who does the work: a loop that claims under a lease, runs the recipe and settles exactly once."""
