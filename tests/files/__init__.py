"""A service that takes files and gives them back: what a subject of tests is that large bodies are for.

Run it as `python -m tests.files`. It has no database and no tokens.
"""

__version__ = "1.2.3"
