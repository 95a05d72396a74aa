"""Programs that run in pods of their own, by the service's image: they have the standard library, and asyncpg."""
