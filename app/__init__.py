"""Shipshape: a link shortener made ready for production."""

__version__ = "0.1.0"
