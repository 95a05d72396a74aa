"""Every error as problem details."""
