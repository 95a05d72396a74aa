"""A second probe: streams, server-sent events and WebSockets. Run it as `python -m tests.probe.streaming`."""
