from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["CYCLE", "PROTOCOL", "SERVER", "STATUS_LINE", "WEBSOCKET", "HttpToolsProtocol", "websocket_protocol"]

# Members of uvicorn's classes that keel.http.protocol, keel.http.websockets and keel.server use or override.
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
WEBSOCKET = (
    *("app", "client", "loop", "transport"),
    *("close_timer", "handshake_complete", "initial_response"),
    *("connection_made", "connection_lost", "data_received", "handle_parser_exception", "shutdown"),
    "scope",  # set by the handshake
)


def websocket_protocol() -> Any:
    """uvicorn's class of a connection that has become a WebSocket; None if no library for it is installed."""
    # Not imported before it is asked for: a service without WebSockets need not wait for its library.
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol  # noqa: PLC0415

    return AutoWebSocketsProtocol
