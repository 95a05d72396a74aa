"""Internals of libraries that the kit uses: one module for each library, named after it.

tests/kit/test_compat.py fails when a new version of a library removes one, and names it.
"""
