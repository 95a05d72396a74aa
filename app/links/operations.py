"""What the links bring for those who operate them."""

from pathlib import Path

from app.links.load import LinkLoad
from keel.operations import Operations, SmokeRequest

PROBLEM = "application/problem+json"

OPERATIONS = Operations(
    requests=[
        SmokeRequest(name="token", path="/api/v1/links", status=401, content_type=PROBLEM),
        # That there is no such link, only the database knows.
        SmokeRequest(name="missing", path="/there-is-no-such-link", status=404, content_type=PROBLEM),
    ],
    dashboards={"links": Path(__file__).parent / "dashboards" / "links.json"},
    load=LinkLoad,
    example="""{url}/api/v1/links -H "Authorization: Bearer {token}" --json '{{"url": "https://example.com/"}}'""",
)
