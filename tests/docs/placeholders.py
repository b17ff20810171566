"""The notation of docs/rpc.md's examples: `<name>`, `<name:kind>` and `…`, filled in for a call and compared with an answer."""

from __future__ import annotations

import re
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature

MORE = "…"
KINDS = {"int": int, "number": (int, float), "object": dict, "list": list}
_WHOLE = re.compile(r"<(\w+)(?::(\w+))?>")
_HEX_BYTES = {"blsPublicKey": 48, "record": 160, "bitmap": 32, "digest": 32, "sampleSignature": 96}
_KEYS = {"publicKey", "client", "worker", "validator", "authority", "programId", "genesisHash"}
_HASHES = re.compile(r"(Hash|Root|Sha256)\Z|^(hash|taskId|commitment|salt)\Z")

Bindings = dict[str, Any]


class Mismatch(AssertionError):
    """The answer is not what the document shows; the message has the path in it."""


def fill(written: Any, known: Bindings) -> Any:
    """Params with every placeholder replaced. KeyError for one that no earlier answer gave."""
    if isinstance(written, dict):
        return {key: fill(value, known) for key, value in written.items()}
    if isinstance(written, list):
        return [fill(value, known) for value in written]
    if isinstance(written, str):
        if whole := _WHOLE.fullmatch(written):
            return known[whole[1]]
        return _WHOLE.sub(lambda found: str(known[found[1]]), written)
    return written


def match(written: Any, got: Any, known: Bindings, path: str = "answer") -> None:
    """Raises Mismatch unless `got` has the keys, types and literal values of `written`. New names are added to `known`."""
    if isinstance(written, str) and (whole := _WHOLE.fullmatch(written)):
        _match_placeholder(whole[1], whole[2], got, known, path)
    elif isinstance(written, dict):
        _need(isinstance(got, dict), path, "an object", got)
        _need(written.keys() == got.keys(), path, f"the keys {sorted(written)}", got)
        for key, value in written.items():
            match(value, got[key], known, f"{path}.{key}")
    elif isinstance(written, list):
        _match_list(written, got, known, path)
    elif isinstance(written, str) and _WHOLE.search(written):
        _need(isinstance(got, str), path, "a string", got)
        _match_text(written, got, known, path)
    else:
        _need(type(written) is type(got) and written == got, path, repr(written), got)


def _match_placeholder(name: str, kind: str | None, got: Any, known: Bindings, path: str) -> None:
    wanted = KINDS[kind] if kind else str
    _need(isinstance(got, wanted) and not isinstance(got, bool), path, kind or "a string", got)
    _need(name not in known or known[name] == got, path, f"<{name}>, which is {known.get(name)!r}", got)
    if isinstance(got, str):
        check_form(path.rpartition(".")[2].partition("[")[0], got, path)
    known[name] = got


def _match_list(written: list[Any], got: Any, known: Bindings, path: str) -> None:
    _need(isinstance(got, list), path, "a list", got)
    if written and written[-1] == MORE:
        sample = written[-2]
        for index, value in enumerate(got):
            match(sample, value, dict(known), f"{path}[{index}]")
        return
    _need(len(written) == len(got), path, f"{len(written)} items", got)
    for index, (one, value) in enumerate(zip(written, got, strict=True)):
        match(one, value, known, f"{path}[{index}]")


def _match_text(written: str, got: str, known: Bindings, path: str) -> None:
    pattern, names, end = "", [], 0
    for found in _WHOLE.finditer(written):
        pattern += re.escape(written[end : found.start()]) + r"(\S+?)"
        names.append(found[1])
        end = found.end()
    whole = re.fullmatch(pattern + re.escape(written[end:]), got)
    _need(whole is not None, path, repr(written), got)
    assert whole is not None
    for name, value in zip(names, whole.groups(), strict=True):
        _need(str(known.setdefault(name, value)) == value, path, f"<{name}>, which is {known[name]!r}", value)


def check_form(key: str, text: str, path: str) -> None:
    """What the document says of forms: hashes are 64 hex digits, keys and L1 signatures base58, BLS things hex."""
    if key in _KEYS:
        Pubkey.from_string(text)
    elif key == "signature":
        Signature.from_string(text)
    elif key in _HEX_BYTES or _HASHES.search(key):
        size = _HEX_BYTES.get(key, 32)
        _need(bool(re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text)), path, f"{size} bytes in hex", text)


def _need(true: bool, path: str, expected: str, got: Any) -> None:
    if not true:
        raise Mismatch(f"{path}: the document has {expected}, the server answered {got!r}")
