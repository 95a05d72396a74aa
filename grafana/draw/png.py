"""Pictures of few colours. https://www.w3.org/TR/png-3/"""

import struct
import zlib
from collections.abc import Sequence

INDEXED = 3


def encode(width: int, height: int, palette: Sequence[int], indices: bytes) -> bytes:
    """A PNG of `indices` of colours, row by row; a colour is 0xRRGGBB."""
    header = struct.pack(">IIBBBBB", width, height, 8, INDEXED, 0, 0, 0)
    rows = b"".join(b"\0" + indices[start : start + width] for start in range(0, width * height, width))
    colors = b"".join(color.to_bytes(3, "big") for color in palette)
    chunks = [(b"IHDR", header), (b"PLTE", colors), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
