"""Keel: what any FastAPI service needs for production. A service plugs its domains into it."""
