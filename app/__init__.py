"""Shipshape: a link shortener, made of the kit (keel) and one domain."""

__version__ = "0.1.0"
