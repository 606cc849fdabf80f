"""What ``mose-med infer`` is made of: options, the loaded model, one case from reading to its folder, and tables."""
