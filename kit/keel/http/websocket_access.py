"""Who may open a WebSocket in a service, and how it ends: what the layers of HTTP requests do, for a handshake.

A handshake is refused before it is accepted, with problem details by ASGI's denial extension, or else by a bare 403.
Once it is accepted, a WebSocket ends with a code of RFC 6455, section 7.4.1.

A browser's page cannot set headers of a handshake. It sends the token as a subprotocol, beside the one it speaks:
`new WebSocket(url, ["chat", "bearer." + token])`. The token never goes into the address, which is logged on its way.
"""

import asyncio
from collections.abc import Callable

import structlog
from fastapi.exceptions import WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from keel.errors.problems import Problem, ProblemResponse, invalid, log_fault, unexpected
from keel.http import security_headers
from keel.http.handlers import field_error
from keel.http.time_limit import RETRY_SECONDS

log = structlog.get_logger("keel.http.websocket_access")

BEARER = "bearer."
SUBPROTOCOL = b"sec-websocket-protocol"
GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR = 1001, 1008, 1011
MAX_REASON_BYTES = 123  # RFC 6455, section 5.5
DENIAL = "websocket.http.response"  # https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response

Check = Callable[[Scope], Problem | None]


class WebSocketAccess:
    """A layer of WebSockets alone: refuses handshakes by `checks`, in this order, and ends what takes too long.

    `seconds` is how long a handler may take to accept, `idle_seconds` how long there may be no message, and `most` how
    many WebSockets there may be at the same time.
    """

    def __init__(
        self,
        app: ASGIApp,
        checks: list[Check],
        *,
        read_token: Callable[[Scope], None],
        seconds: float,
        idle_seconds: float,
        most: int,
    ) -> None:
        self.app = app
        self.checks = checks
        self.read_token = read_token
        self.seconds = seconds
        self.idle_seconds = idle_seconds
        self.most = most
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = _Socket(self, scope, receive, send)
        try:
            if problem := self._problem(socket):
                await socket.refuse(problem)
                return
            self.count += 1
            try:
                await self._serve(socket)
            finally:
                self.count -= 1
        finally:
            socket.timer.cancel()

    def _problem(self, socket: "_Socket") -> Problem | None:
        socket.sent_token = take_token_from_subprotocol(socket.scope)
        self.read_token(socket.scope)
        for check in self.checks:
            if problem := check(socket.scope):
                return problem
        if self.count >= self.most:
            detail = "The service is at its limit of WebSockets. Try again soon."
            return Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)})
        return None

    async def _serve(self, socket: "_Socket") -> None:
        try:
            await self.app(socket.scope, socket.receive, socket.send)
        except WebSocketDisconnect:
            pass  # a client that leaves is no error
        except asyncio.CancelledError:
            if not socket.timed_out or socket.task.uncancel():
                raise
            if socket.accepted:
                await socket.close(GOING_AWAY, f"There was no message for {self.idle_seconds:g} seconds.")
            else:
                detail = f"The handshake took longer than {self.seconds:g} seconds. Try again soon."
                await socket.refuse(Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)}))
        except WebSocketRequestValidationError as error:
            await socket.refuse(invalid(*map(field_error, error.errors())))
        except HTTPException as error:
            problem = error if isinstance(error, Problem) else Problem(error.status_code, str(error.detail))
            log_fault(problem)
            await socket.refuse(problem)
        except Exception:
            if not socket.gone:
                log.exception("websocket failed")
            await socket.refuse(unexpected())


class _Socket:
    """One WebSocket."""

    def __init__(self, access: WebSocketAccess, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: this runs in one
        self.task = task
        self.scope = scope
        self.sent_token = False
        """Whether the token came as a subprotocol."""
        self.accepted = False
        self.ended = False
        self.gone = False
        self.timed_out = False
        self.timer = asyncio.get_running_loop().call_later(access.seconds, self._time_out)
        self._access = access
        self._receive = receive
        self._send = send
        self._moved = 0.0

    async def receive(self) -> Message:
        message = await self._receive()
        self._moved = asyncio.get_running_loop().time()
        if message["type"] == "websocket.disconnect":
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            if not self.accepted:  # a route refuses, or there is none
                there = "endpoint" in self.scope
                await self.refuse(
                    Problem(403, "This WebSocket is refused.") if there else Problem(404, "There is nothing here.")
                )
                return
            self.ended = True
        elif kind == "websocket.http.response.start":
            self.ended = True
        self._moved = asyncio.get_running_loop().time()
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise

    async def refuse(self, problem: Problem) -> None:
        """End the WebSocket with a problem, if it has not ended: as its response, or by a code if it is accepted."""
        if self.ended or self.gone:
            return
        if self.accepted:
            fault = problem.status_code >= 500
            await self.close(INTERNAL_ERROR if fault else POLICY_VIOLATION, problem.detail)
        elif DENIAL in self.scope.get("extensions", {}):
            self.ended = True
            await ProblemResponse(self.scope, problem)(self.scope, self._receive, self._send_denial)
        else:
            self.ended = True
            await self._send({"type": "websocket.close"})

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket, unless it is closed."""
        if not self.ended and not self.gone:
            self.ended = True
            short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            await self._send({"type": "websocket.close", "code": code, "reason": short})

    async def _send_denial(self, message: Message) -> None:
        if message["type"].endswith(".start"):
            message["headers"] = [*message["headers"], *security_headers.fields(https=False)]
        await self._send(message)

    def _accept(self, message: Message) -> None:
        self.accepted = True
        offered: list[str] = self.scope["subprotocols"]
        # A browser gives up unless one of the subprotocols that it has offered is chosen.
        if message.get("subprotocol") is None and self.sent_token and offered:
            message["subprotocol"] = offered[0]
        self.timer.cancel()
        self._look_later(self._access.idle_seconds)

    def _look_later(self, seconds: float) -> None:
        self.timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        left = self._moved + self._access.idle_seconds - asyncio.get_running_loop().time()
        if left > 0:
            self._look_later(left)
        else:
            self._time_out()

    def _time_out(self) -> None:
        self.timed_out = True
        self.task.cancel()


def take_token_from_subprotocol(scope: Scope) -> bool:
    """Make an Authorization header of the subprotocol `bearer.<token>`, which nothing else then sees.

    Returns whether there was one.
    """
    offered: list[str] = scope["subprotocols"]
    tokens = [each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)]
    if not tokens:
        return False
    scope["subprotocols"] = others = [each for each in offered if not each.startswith(BEARER)]
    headers: list[tuple[bytes, bytes]] = [field for field in scope["headers"] if field[0] != SUBPROTOCOL]
    if others:
        headers.append((SUBPROTOCOL, ", ".join(others).encode("latin-1")))
    scope["headers"] = [*headers, *((b"authorization", b"Bearer " + token.encode("latin-1")) for token in tokens)]
    return True
