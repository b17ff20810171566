"""Looks at RocksDB's log files before RocksDB does, because RocksDB takes too much for a torn tail.

Its log (write-ahead log and MANIFEST alike) is a chain of records in blocks of 32 KiB: checksum u32, length u16, type u8, payload
(facebook/rocksdb `db/log_format.h`). A log that ends inside a record was torn by a crash: that record was never acknowledged. But when a
length or a type is damaged so that the record seems to reach beyond the file's end, or to belong to an older file, RocksDB ends there without
a word, and with it go all the batches after it. Here such a log is refused. Damaged payloads RocksDB finds by itself.
"""

from __future__ import annotations

from pathlib import Path

BLOCK_BYTES = 32 * 1024
HEADER_BYTES = 7
TYPES = frozenset({0, 1, 2, 3, 4, 9, 10, 11})
"""Zero padding, full, first, middle, last, and what describes the log itself. Not the recyclable ones, 5 to 8: no log is recycled here."""


class LogDamaged(Exception):
    """A log file holds something that a crash cannot have left; the message names file and offset."""


def audit(path: Path) -> None:
    """LogDamaged unless every record of the log is followed by another, by the end of the file, or is cut off by it."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        room = BLOCK_BYTES - at % BLOCK_BYTES
        if room < HEADER_BYTES:
            at += room
            continue
        header = data[at : at + HEADER_BYTES]
        if len(header) < HEADER_BYTES:
            return
        length, kind = int.from_bytes(header[4:6], "little"), header[6]
        if kind not in TYPES:
            raise LogDamaged(f"{path}: the record at offset {at} has type {kind}, which this log never holds")
        if kind == 0 and length == 0:
            if any(data[at:]):
                raise LogDamaged(f"{path}: zeros at offset {at} stand before other bytes")
            return
        end = at + HEADER_BYTES + length
        if end > min(len(data), at + room):
            if _is_whole(header, data[at + HEADER_BYTES : at + room]):
                raise LogDamaged(f"{path}: the length of the record at offset {at} is damaged")
            if len(data) > at + room:
                raise LogDamaged(f"{path}: the record at offset {at} reaches beyond its block")
            return
        at = end


def _is_whole(header: bytes, rest: bytes) -> bool:
    """Whether the checksum in the header is that of some beginning of `rest`: the record is there, and its length is wrong."""
    wanted = _unmask(int.from_bytes(header[:4], "little"))
    crc = _advance(0xFFFFFFFF, header[6])
    for byte in rest:
        if crc ^ 0xFFFFFFFF == wanted:
            return True
        crc = _advance(crc, byte)
    return crc ^ 0xFFFFFFFF == wanted


def _unmask(masked: int) -> int:
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    """CRC-32C, the Castagnoli polynomial, bit-reversed."""
    entries = []
    for index in range(256):
        crc = index
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        entries.append(crc)
    return tuple(entries)


_TABLE = _table()


def _advance(crc: int, byte: int) -> int:
    return crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
