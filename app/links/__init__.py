"""The domain: short links. Only app.main imports it, so that a service can replace it by its own."""
