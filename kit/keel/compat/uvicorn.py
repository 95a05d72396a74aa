from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["CYCLE", "PROTOCOL", "SERVER", "STATUS_LINE", "HttpToolsProtocol"]

# Members of uvicorn's classes that keel.http.protocol and keel.server use or override.
PROTOCOL = (
    *("client", "cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "server_state", "transport"),
    "url",
    *("timeout_keep_alive", "timeout_keep_alive_task", "_unset_keepalive_if_required"),
    *("connection_made", "data_received", "on_response_complete"),
    *("on_url", "on_headers_complete", "on_body", "on_message_complete"),
)
CYCLE = (
    "disconnected",
    "keep_alive",
    "message_event",
    "more_body",
    "response_complete",
    "response_started",
    "transport",
)
SERVER = ("capture_signals", "config", "on_tick", "serve", "server_state", "should_exit", "startup")
