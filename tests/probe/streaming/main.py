"""The service: what it is called, and what it is about."""

from keel.product import Product
from keel.service import Service
from tests.probe.streaming.domain import NEWS

PRODUCT = Product(name="news", title="News", summary="What happens.", version="1.2.3", package="tests.probe.streaming")
SERVICE = Service(PRODUCT, [NEWS])
