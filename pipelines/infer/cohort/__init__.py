"""``mose-med infer`` of many cases: discovery, workers and outcomes."""
