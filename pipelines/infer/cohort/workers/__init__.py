"""Who does the cases: engines, their workers, and the scheduler between them."""
