"""The locks of what comes from a Python package index, and what installs them."""
