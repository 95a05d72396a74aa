"""Keel: what a FastAPI service needs for production, whatever it is about. A service plugs its domains into it."""
