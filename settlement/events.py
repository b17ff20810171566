"""The program's events, read from a transaction's logs.

`Program data:` lines do not say who wrote them, so the invoke and success lines around them are followed: a line counts only while
our own program is the innermost one running. A truncated log yields the events before the cut.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from settlement import idl

_INVOKE = re.compile(r"^Program ([1-9A-HJ-NP-Za-km-z]{32,44}) invoke \[\d+\]$")
_END = re.compile(r"^Program ([1-9A-HJ-NP-Za-km-z]{32,44}) (success|failed: .*)$")
_DATA = "Program data: "


@dataclass(frozen=True)
class Event:
    """`name` and `fields` as in the IDL."""

    name: str
    fields: dict[str, Any]


def decode_events(logs: Iterable[str], program_id: Pubkey) -> list[Event]:
    """Events of `program_id` in order. IdlError when one of its events does not decode."""
    ours, running = str(program_id), list[str]()
    events = []
    for line in logs:
        if invoked := _INVOKE.match(line):
            running.append(invoked.group(1))
        elif ended := _END.match(line):
            if running and running[-1] == ended.group(1):
                running.pop()
        elif line.startswith(_DATA) and running and running[-1] == ours:
            event = _decode(line[len(_DATA) :])
            if event is not None:
                events.append(event)
    return events


def _decode(payload: str) -> Event | None:
    try:
        data = base64.b64decode(payload, validate=True)
    except binascii.Error:  # several payloads in one line: emit! writes one
        return None
    decoded = idl.committed().decode_event(data)
    return None if decoded is None else Event(*decoded)
