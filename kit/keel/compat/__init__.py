"""What the kit uses of its libraries that they do not promise to keep: a module for each, named after it.

tests/kit/test_compat.py says which of it a new version of a library has taken away.
"""
