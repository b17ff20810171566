"""What of an outcome two L1s must have in common: everything but what no two runs share.

Kept: keys, types, error codes, words, logs, balances, constants. Replaced by what they are: slots, times and their like (by key), addresses,
hashes and signatures (a key of the script by its name, `$payer`), long binary data (by its length), and all numbers of a step that `varies`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from localnet.base58 import b58decode
from tests.clients import instructions
from tests.clients.script import Script, Step

VOLATILE = frozenset(
    {
        "slot", "blockTime", "blockHeight", "lastValidBlockHeight", "parentSlot", "absoluteSlot", "slotIndex", "transactionCount",
        "contextSlot", "transactionIndex", "root", "parent", "subscription", "epochStartTimestamp", "unixTimestamp",
        "lastExtendedSlot", "lastExtendedSlotStartIndex",
    }
)  # fmt: skip
KNOWN = frozenset(
    value
    for value in vars(instructions).values()
    if isinstance(value, str) and re.fullmatch("[1-9A-HJ-NP-Za-km-z]{32,44}", value)
) | {"Sysvar1111111111111111111111111111111111111", "1" * 32}
# LiteSVM and agave bundle different builds of these programs, so what they cost is not one L1's but a build's.
BUNDLED = (instructions.TOKEN, instructions.TOKEN_2022, instructions.ASSOCIATED_TOKEN, instructions.MEMO)
COSTS = frozenset({"computeUnitsConsumed", "unitsConsumed", "costUnits", "loadedAccountsDataSize"})
# How far a transaction has come by the time that it is asked about hangs on the clock.
_REACHED = {"confirmationStatus": "<confirmed or finalized>", "confirmations": "<count or none>"}
LONG_TEXT = 64  # characters
_BASE58 = re.compile(r"(?<![A-Za-z0-9])[1-9A-HJ-NP-Za-km-z]{32,88}(?![A-Za-z0-9])")
_HOST_PORT = re.compile(r"\b127\.0\.0\.1:\d+\b")
_CONSUMED = re.compile(r"consumed \d+ of \d+ compute units")
# The words of the decoders, serde and base64 there, msgspec and binascii here.
_WHY_NOT = re.compile(r"(Invalid params: |invalid base64 encoding: ).*")
_BIGINT = re.compile(r"-?\d+n")
_RAW_SIGNATURE = 84  # characters of base64: 63 bytes, the number of signatures and 62 bytes of the first


class Shaper:
    """Shapes of one client's outcomes on one L1; `saved` is what the script saved there."""

    def __init__(self, script: Script, saved: dict[str, Any]) -> None:
        named = {str(pair.pubkey()): f"${name}" for name, pair in script.keypairs.items()}
        # Signatures, and the table's address; a blockhash may or may not still be the latest.
        kept = {value: f"${name}" for name, value in saved.items() if name == "table" or len(str(value)) in (87, 88)}
        self._names = kept | named
        self._saved = saved
        self._volatile = VOLATILE
        self._bundled = False

    def of(self, step: Step, outcome: Any) -> Any:
        if "pick" in step and "result" in outcome:
            outcome = {"result": self._picked(outcome["result"], self._saved[step["pick"][1:]])}
        text = json.dumps(outcome)
        self._bundled = any(program in text for program in BUNDLED)
        self._volatile = VOLATILE | COSTS if self._bundled else VOLATILE
        shape = self._shape(outcome, varies=step.get("varies", False))
        return _sorted_lists(shape) if step.get("unordered") else shape

    def _picked(self, block: dict[str, Any], signature: str) -> dict[str, Any]:
        """The block with that one transaction: a real validator's votes and other clients' transactions are no part of the comparison."""
        raw = base64.b64encode(b"\x01" + b58decode(signature)).decode()[:_RAW_SIGNATURE]
        kept = dict(block)
        for name in ("transactions", "signatures"):
            if name in block:
                kept[name] = [one for one in block[name] if any(text in json.dumps(one) for text in (signature, raw))]
        return kept

    def _shape(self, value: Any, *, varies: bool, key: str = "") -> Any:
        if isinstance(value, dict):
            shaped = {self._text(name): self._shape(one, varies=varies, key=name) for name, one in value.items()}
            return dict(sorted(shaped.items()))
        if isinstance(value, list):
            shapes = [self._shape(one, varies=varies, key=key) for one in value]
            return _distinct(shapes) if varies else shapes
        if key in _REACHED and (value is None or value in ("confirmed", "finalized") or _is_count(value)):
            return _REACHED[key]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, str):
            if _BIGINT.fullmatch(value):
                return "<bigint>" if varies or key in self._volatile else value
            if key in self._volatile and value.isdecimal():
                return "<decimal>"
            return "<address>" if varies and value in KNOWN else self._text(value)
        if varies or key in self._volatile:
            return "<integer>" if isinstance(value, int) else "<float>"
        return value

    def _text(self, text: str) -> str:
        if len(text) > LONG_TEXT and not _BASE58.fullmatch(text) and re.fullmatch(r"[A-Za-z0-9+/=]+", text):
            try:
                return f"<base64 of {len(base64.b64decode(text, validate=True))} bytes>"
            except binascii.Error:
                return f"<base58 of {len(b58decode(text))} bytes>"
        text = _BASE58.sub(self._address, _HOST_PORT.sub("<host:port>", text))
        if self._bundled:
            text = _CONSUMED.sub("consumed <some> compute units", text)
        return _WHY_NOT.sub(r"\1<why>", text)

    def _address(self, found: re.Match[str]) -> str:
        text = found[0]
        if text in self._names:
            return self._names[text]
        if text in KNOWN:
            return text
        return {32: "<address>", 64: "<signature>"}.get(len(b58decode(text)), text)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) or bool(_BIGINT.fullmatch(str(value)))


def _distinct(shapes: list[Any]) -> list[Any]:
    return list({json.dumps(one): one for one in shapes}.values())


def _sorted_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted_lists(one) for name, one in value.items()}
    if isinstance(value, list):
        return sorted((_sorted_lists(one) for one in value), key=json.dumps)
    return value
