"""Things with names: a route for each way that a request can go, and one of each plug that a domain can have."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path, Query, Request, Response, Security
from prometheus_client import Counter, Gauge
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Column, Integer, String, Table, delete, func, select

from keel.data.cache import Cache
from keel.data.database import METADATA
from keel.data.periodic import every
from keel.data.timestamp import Timestamp
from keel.data.upsert import insert
from keel.domain import Domain, Feature, Parts
from keel.errors.problems import FieldError, Problem, invalid
from keel.http import routing
from keel.http.openapi import KEY_DESCRIPTION, REPLAYED, problems
from keel.idempotency import MAX_KEY_CHARACTERS, AlreadyAnsweredError, KeyedRequest, KeyReusedError
from keel.observability.probes import NotFitError
from keel.operations import Call, Kind, LoadProfile, Operations, SmokeRequest
from keel.security.auth import MAX_SUBJECT_CHARACTERS, Principal, authenticate
from keel.settings import OwnSettings
from keel.settings.base import Seconds
from keel.tasks.run import Run
from keel.tasks.task import Task

READ, WRITE, ADMIN = "things:read", "things:write", "things:admin"
NAME = "^[A-Za-z0-9_-]{1,64}$"
TABLE = Table(
    "things",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("owner", String(MAX_SUBJECT_CHARACTERS), nullable=False),
    Column("made_at", Timestamp, nullable=False),
)
MARKS = Table(
    "marks",
    METADATA,
    Column("number", Integer, nullable=False),
    Column("made_by", String(32), nullable=False),
)


class NewMark(BaseModel):
    number: int
    seconds: float = 0


MARK = Task(name="mark", payload=NewMark)


class ProbeSettings(OwnSettings, env_prefix="PROBE_"):
    """What an operator may want to change of the things."""

    count_seconds: Seconds = 1
    """How often the things are counted."""
    fit: bool = True
    """Whether the check of its own passes; a pod is not ready before it has."""


class NewThing(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "page"}]})

    name: str = Field(pattern=NAME)


class Thing(BaseModel):
    name: str
    made_at: datetime
    stale: bool = Field(
        default=False, description="It may have changed: the database is away, and this is past its time."
    )


def encode(thing: Thing) -> bytes:
    return thing.model_dump_json().encode()


def as_stale(thing: Thing) -> Thing:
    return thing.model_copy(update={"stale": True})


class Things(Feature):
    """Is in `app.state.things`."""

    def __init__(self, parts: Parts, settings: ProbeSettings) -> None:
        self.settings, self.database, self.keys = settings, parts.database, parts.keys
        self.cache: Cache[Thing] = parts.cache("things", 1, encode, Thing.model_validate_json, as_stale)
        self.made = Counter("things_made", "Things made.", registry=parts.registry)
        self.stale = Counter("things_read_stale", "Things read past their time.", registry=parts.registry)
        self.stored = Gauge("things_stored", "Things there are, when they were last counted.", registry=parts.registry)
        self.checks = {"things": self.check}
        self.tasks = {MARK: self.mark}

    def install(self, app: FastAPI) -> None:
        app.state.things = self
        app.include_router(router, prefix="/api/v1")

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with every(self.settings.count_seconds, self.count):
            yield

    async def check(self) -> None:
        if not self.settings.fit:
            raise NotFitError("PROBE_FIT says no")

    async def count(self) -> None:
        async with self.database.reading() as connection:
            self.stored.set(await connection.scalar(select(func.count()).select_from(TABLE)) or 0)

    async def mark(self, new: NewMark, run: Run) -> None:
        """Write down a number, after the time that is asked for."""
        await asyncio.sleep(new.seconds)
        async with run.transaction() as connection:
            await connection.execute(MARKS.insert().values(number=new.number, made_by=run.id))

    async def load(self, name: str) -> Thing | None:
        async with self.database.reading() as connection:
            made_at = await connection.scalar(select(TABLE.c.made_at).where(TABLE.c.name == name))
        return None if made_at is None else Thing(name=name, made_at=made_at)

    async def make(self, name: str, owner: str, request: KeyedRequest | None) -> str:
        """The answer, kept with the thing if the request has a key."""
        thing = Thing(name=name, made_at=datetime.now(UTC))
        row = {"name": name, "owner": owner, "made_at": thing.made_at}
        add = insert(self.database.dialect, TABLE).values(row).on_conflict_do_nothing().returning(TABLE.c.name)
        try:
            async with self.database.transaction() as connection:
                if request:
                    await self.keys.keep(connection, request, thing.model_dump_json())
                if await connection.scalar(add) is None:
                    raise Problem(409, f"There is a thing named {name} already. Choose another name.")
                await connection.commit()
        finally:  # a commit may have happened even if it raised
            await self.cache.changed(name)
        self.made.inc()
        return thing.model_dump_json()


async def get_things(request: Request) -> Things:
    things: Things = request.app.state.things
    return things


Service = Annotated[Things, Depends(get_things)]
Reader = Annotated[Principal, Security(authenticate, scopes=[READ])]
Writer = Annotated[Principal, Security(authenticate, scopes=[WRITE])]
Admin = Annotated[Principal, Security(authenticate, scopes=[ADMIN])]
Name = Annotated[str, Path(pattern=NAME)]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=MAX_KEY_CHARACTERS, pattern="^[ -~]+$", description=KEY_DESCRIPTION),
]

router = routing.api_router("", "things")


@router.post(
    "/things",
    status_code=201,
    response_model=Thing,
    responses={201: {"description": "The thing was made.", "headers": REPLAYED}, **problems(401, 403, 409)},
)
async def make_thing(new: NewThing, writer: Writer, things: Service, key: Key = None) -> Response:
    """Make a thing. Needs the scope things:write."""
    fingerprint = hashlib.sha256(new.name.encode()).hexdigest()
    request = None if key is None else KeyedRequest(writer.subject, key, fingerprint)
    try:
        if request and (kept := await things.keys.answer(request)):
            return Response(kept, 201, {"Idempotent-Replayed": "true"}, "application/json")
        return Response(await things.make(new.name, writer.subject, request), 201, media_type="application/json")
    except KeyReusedError as error:
        detail = "This key came with a different body before."
        raise invalid(FieldError(detail=detail, parameter="Idempotency-Key")) from error
    except AlreadyAnsweredError as error:
        raise Problem(409, "The same request is being answered. Send it again.") from error


@routing.get(router, "/things", response_model=list[Thing], responses=problems(401, 403))
async def list_things(reader: Reader, things: Service) -> list[Thing]:
    """List the first hundred of your things. Needs the scope things:read."""
    statement = select(TABLE.c.name, TABLE.c.made_at).where(TABLE.c.owner == reader.subject).order_by(TABLE.c.name)
    async with things.database.reading() as connection:
        return [Thing(name=row.name, made_at=row.made_at) for row in await connection.execute(statement.limit(100))]


@routing.get(router, "/things/{name}", response_model=Thing, responses=problems(404, 422))
async def read_thing(request: Request, name: Name, things: Service) -> Thing:
    """Read a thing. Public: needs no token."""
    thing = await things.cache.get(name, things.load)
    if thing is None:
        raise Problem(404, "There is no such thing.")
    if thing.stale:
        things.stale.inc()
        request.scope["state"]["stale"] = True
    return thing


@router.delete("/things/{name}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_thing(name: Name, _admin: Admin, things: Service) -> None:
    """Delete a thing, whoever made it. Needs the scope things:admin."""
    try:
        if not await things.database.write(delete(TABLE).where(TABLE.c.name == name).returning(TABLE.c.name)):
            raise Problem(404, "There is no such thing.")
    finally:
        await things.cache.changed(name)


@routing.get(router, "/slow", responses=problems(422))
async def wait_for_it(seconds: Annotated[float, Query(ge=0, le=10)] = 1) -> float:
    """Take as long as is asked for, and say how long that was. Public: needs no token."""
    await asyncio.sleep(seconds)
    return seconds


@routing.get(router, "/failing")
async def fail() -> None:
    """Fail, always. Public: needs no token."""
    raise RuntimeError("this route always fails")


class ThingsLoad(LoadProfile):
    """Things are made, and read by everybody."""

    def __init__(self, tokens: Sequence[str], chance: random.Random) -> None:
        super().__init__(tokens, chance)
        self.made: list[str] = []

    def kinds(self) -> Mapping[str, Kind]:
        return {"make": Kind(5, self._make, with_token=True), "read": Kind(4, self._read)}

    def _make(self) -> Call:
        def note(body: Any) -> None:
            self.made.append(body["name"])

        body = {"name": f"load-{self.chance.randrange(10**12)}"}
        return Call(method="POST", path="/api/v1/things", expected=(201,), token=self.token(), body=body, then=note)

    def _read(self) -> Call | None:
        return Call(path=f"/api/v1/things/{self.chance.choice(self.made)}") if self.made else None


OPERATIONS = Operations(
    requests=[
        SmokeRequest(name="none", path="/api/v1/things/none", status=404, content_type="application/problem+json")
    ],
    load=ThingsLoad,
)
THINGS = Domain(
    name="things",
    start=Things,
    settings=ProbeSettings,
    development_scopes=(READ, WRITE),
    tags=({"name": "things", "description": "Make, read, list and delete things; slow and failing answers."},),
    problems={404: "There is no such thing.", 409: "There is a thing named page already. Choose another name."},
    operations=OPERATIONS,
)
