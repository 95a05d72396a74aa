"""Shipshape: a link shortener, built from the kit (keel) and one domain."""

__version__ = "0.1.0"
