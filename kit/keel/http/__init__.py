"""HTTP: the protocol, the middleware, and what routes share."""
