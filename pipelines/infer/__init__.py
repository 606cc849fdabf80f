"""``mose-med infer``: one study, or many."""
