"""From a merged change to production, with a way back. `python -m delivery --help`; docs/delivery.md."""
