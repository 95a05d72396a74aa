"""A release brought to an environment, watched, and taken back when it is not what it should be; docs/delivery.md."""
