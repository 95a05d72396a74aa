"""/api/v1/target-reports: which links lead nowhere."""

from fastapi import Response
from pydantic import BaseModel, Field

from app.links import responses
from app.links.dependencies import Admin, LinksDep
from keel.http import routing
from keel.http.openapi import problems

REPORTS = 31

router = routing.api_router("/target-reports", "links")


class BrokenLink(BaseModel):
    slug: str = Field(examples=["spring-sale"])
    url: str = Field(examples=["https://example.com/page"])
    error: str = Field(examples=["status 404"])


class Report(BaseModel):
    day: str = Field(description="Its date in UTC.", examples=["2026-03-01"])
    checked: int = Field(description="Links whose targets have been checked.", examples=[1200])
    broken: int = Field(description="How many of them lead nowhere.", examples=[3])
    examples: list[BrokenLink] = Field(description="The first hundred broken links.")


class Reports(BaseModel):
    items: list[Report] = Field(description="Those of the last 31 nights, the newest first.")


@routing.get(
    router,
    "",
    response_model=Reports,
    responses={200: {"description": "The reports."}, **problems(401, 403)},
)
async def list_reports(_: Admin, links: LinksDep) -> Response:
    """List the reports of broken links. Needs the scope links:admin.

    There are none while targets are not checked (LINKS_CHECK_TARGETS).
    """
    return responses.of(Reports(items=[Report(**report) for report in await links.checks.reports(REPORTS)]))
