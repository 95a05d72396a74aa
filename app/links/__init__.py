"""The domain: short links. Yours goes here; nothing outside but app.main knows of it."""
