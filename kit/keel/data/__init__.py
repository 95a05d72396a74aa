"""The database, the cache, and how both are got back."""
