"""What is made for a chart: `python -m charts` writes it."""
