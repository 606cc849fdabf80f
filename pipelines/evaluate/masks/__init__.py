"""``mose-med evaluate --predictions``: masks of any tool against references, without a model."""
