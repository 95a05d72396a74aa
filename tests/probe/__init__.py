"""A service that is about nothing: the subject of the kit's tests. Run it as `python -m tests.probe`."""

__version__ = "1.2.3"
