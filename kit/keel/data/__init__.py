"""The database and the cache, and how the service recovers when they fail."""
