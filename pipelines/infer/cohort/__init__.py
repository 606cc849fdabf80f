"""``mose-med infer`` of many cases: what they are, who works on them, what became of them."""
