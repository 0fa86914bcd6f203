"""How well a ranking finds what people judged relevant: rank pools, compute metrics, keep and report evaluations."""
