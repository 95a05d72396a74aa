"""Authentication and rate limits: who sends a request, and how many they may send."""
