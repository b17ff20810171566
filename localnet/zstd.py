"""Zstandard frames without compression (RFC 8878), for the encoding `base64+zstd`: any decoder reads them.

No compressor is a dependency of this room. A block that is one byte over and over is stored as a run, so the zeros that
large accounts are full of cost nothing; everything else is stored as it is.
"""

from __future__ import annotations

_MAGIC = bytes.fromhex("28b52ffd")
# Frame_Content_Size of four bytes, Single_Segment: no window descriptor, no checksum, no dictionary.
_DESCRIPTOR = b"\xa0"
MAX_BLOCK_BYTES = 128 * 1024
_RAW, _RUN = 0, 1


def frame(data: bytes) -> bytes:
    """`data` is shorter than 4 GiB."""
    chunks = [data[at : at + MAX_BLOCK_BYTES] for at in range(0, len(data), MAX_BLOCK_BYTES)] or [b""]
    blocks = [_block(chunk, is_last=index == len(chunks) - 1) for index, chunk in enumerate(chunks)]
    return b"".join((_MAGIC, _DESCRIPTOR, len(data).to_bytes(4, "little"), *blocks))


def _block(chunk: bytes, *, is_last: bool) -> bytes:
    is_run = len(chunk) > 1 and chunk.count(chunk[:1]) == len(chunk)
    header = len(chunk) << 3 | (_RUN if is_run else _RAW) << 1 | is_last
    return header.to_bytes(3, "little") + (chunk[:1] if is_run else chunk)
