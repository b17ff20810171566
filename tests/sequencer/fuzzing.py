"""Requests made from the OpenRPC document: valid, nearly valid and wild, signed well and badly, and broken in their bytes; and what must be
true of every answer. One seed gives one sequence of requests, as long as the world they are made of answers the same.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import msgspec
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from settlement import records, signing
from settlement.rpc_codes import Code
from settlement.signing import Domain
from tests.docs.caller import RECORDS
from tests.sequencer.contract import Contract
from tests.sequencer.kit import DATASET

Json = Any
HEX, BASE58 = "0123456789abcdef", "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
EDGES = [
    0,
    1,
    -1,
    2**31,
    2**32 - 1,
    2**32,
    2**53 - 1,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    1.0,
    0.5,
    -0.0,
    1e308,
    5e-324,
]
TEXTS = [
    "",
    " ",
    "\n",
    "\0",
    "null",
    "é",
    "\U0001f4a5",
    "a" * 5_000,
    "../../etc/passwd",
    "%00",
    "$ref",
    "' OR 1=1",
    "{{7*7}}",
    "<x>",
]
IDS: list[Json] = [1, 0, -1, 2**64 - 1, 1.5, "", "a", "é" * 100, None, 1e300, True, {}, [], "x" * 10_000]


@dataclass
class World:
    """What the requests are about: whose keys there are, what a parameter of some name means here, calls (party and parameters without auth)
    that would succeed, the slot by now and each party's nonce."""

    domain: Domain
    parties: dict[str, Keypair]
    known: dict[str, list[Json]]
    calls: dict[str, list[tuple[str, Json]]]
    slot: Callable[[], int]
    nonce: Callable[[str], int]


@dataclass(frozen=True)
class Request:
    """An HTTP request; `kind` is how it was made, `code` what it must be refused with, None where that is open."""

    kind: str
    body: bytes
    verb: str = "POST"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    code: Code | None = None


class Generator:
    """Makes requests from `contract`'s document, about `world`."""

    def __init__(self, random: Random, contract: Contract, world: World) -> None:
        self.random, self.contract, self.world = random, contract, world
        self._kinds: list[tuple[int, Callable[[], Request]]] = [
            (30, lambda: self._call("valid", self.params)),
            (25, lambda: self._call("nearly valid", self._nearly)),
            (8, lambda: self._call("wild", lambda method: self.wild(3))),
            (10, self._envelope),
            (12, self._bytes),
            (6, self._batch),
            (5, self._http),
            (4, self._blob),
        ]

    def request(self) -> Request:
        weights, makers = zip(*self._kinds, strict=True)
        return self.random.choices(makers, weights)[0]()

    # -- values --------------------------------------------------------------------------------------------------

    def wild(self, depth: int) -> Json:
        pick = self.random.random()
        if depth and pick < 0.2:
            return [self.wild(depth - 1) for _ in range(self.random.randrange(4))]
        if depth and pick < 0.45:
            keys = ["taskId", "auth", "epoch", "limit", "spec", *TEXTS]
            return {self.random.choice(keys): self.wild(depth - 1) for _ in range(self.random.randrange(5))}
        plain = [None, True, False, *EDGES, *TEXTS, self._text(HEX, 64), self._text(BASE58, 44)]
        return self.random.choice(plain)

    def _text(self, letters: str, length: int) -> str:
        return "".join(self.random.choices(letters, k=length))

    def value(self, schema: Json, key: str = "") -> Json:
        """A value that fits the schema; for some keys one that means something in this world."""
        if key in self.world.known and self.random.random() < 0.85:
            return self.random.choice(self.world.known[key])
        if "$ref" in schema:
            return self.value(self._resolve(schema["$ref"]), key)
        if "anyOf" in schema:
            return self.value(self.random.choice(schema["anyOf"]), key)
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        kind = schema.get("type")
        if kind == "object":
            properties, needed = schema.get("properties", {}), schema.get("required", [])
            shown = [name for name in properties if name in needed or self.random.random() < 0.5]
            return {name: self.value(properties[name], name) for name in shown}
        if kind == "array":
            items = schema["items"]
            if isinstance(items, list):
                return [self.value(item) for item in items]
            return [self.value(items) for _ in range(self.random.randrange(min(4, schema.get("maxItems", 4)) + 1))]
        if kind == "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 2**53)
            return self.random.choice(
                [low, high, min(high, low + self.random.randrange(100)), self.random.randint(low, high)]
            )
        if kind == "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -1.0))
            return low + self.random.random() * (schema.get("maximum", schema.get("exclusiveMaximum", 1.0)) - low)
        if kind == "string":
            return self._string(schema.get("pattern", ""))
        return {"type": None, "boolean": self.random.random() < 0.5, "null": None}.get(kind or "type")

    def _resolve(self, reference: str) -> Json:
        return self.contract.document["components"]["schemas"][reference.rpartition("/")[2]]

    def _string(self, pattern: str) -> str:
        if match := re.fullmatch(r"\^\[0-9a-f\]\{(\d+)\}\$", pattern):
            return self._text(HEX, int(match[1]))
        if "1-9A-HJ" in pattern:
            keys = [str(keypair.pubkey()) for keypair in self.world.parties.values()]
            noise = (
                str(Signature.from_bytes(self.random.randbytes(64)))
                if "64,88" in pattern
                else str(Pubkey(self.random.randbytes(32)))
            )
            return noise if "64,88" in pattern or self.random.random() < 0.2 else self.random.choice(keys)
        return self.random.choice(TEXTS)

    def params(self, method: str) -> Json:
        """Parameters that fit the method's schema, signed as they must be by a party of the world."""
        described, prepared = self.contract.methods[method], self.world.calls.get(method)
        if prepared and self.random.random() < 0.6:
            name, params = self.random.choice(prepared)
            made = {**params, "nonce": self.world.nonce(name)} if "nonce" in params else dict(params)
            return {**made, "auth": self._auth(name, method, made)}
        shown = [one for one in described["params"] if one["required"] or self.random.random() < 0.5]
        made = {one["name"]: self.value(one["schema"], one["name"]) for one in shown if one["name"] != "auth"}
        if any(one["name"] == "auth" for one in shown):
            name = self.random.choice(list(self.world.parties))
            if "nonce" in made and self.random.random() < 0.8:
                made["nonce"] = self.world.nonce(name)
            made["auth"] = self._auth(name, method, made)
        return made

    def _auth(self, name: str, method: str, params: Json) -> Json:
        keypair, random = self.world.parties[name], self.random
        margin = random.choice([200] * 8 + [0, 5000])
        auth: Json = {"publicKey": str(keypair.pubkey()), "expirySlot": self.world.slot() + margin}
        signer = random.choice([keypair] * 9 + [Keypair()])
        try:
            if method in RECORDS:
                record = records.encode(RECORDS[method](self.world.domain, bytes(keypair.pubkey()), params))
                digest = signing.authorisation_digest(self.world.domain, auth["expirySlot"], record)
            else:
                auth["nonce"] = random.choice([random.getrandbits(53)] * 9 + [1])
                digest = signing.rpc_digest(self.world.domain, method, params, auth["nonce"], auth["expirySlot"])
        except (ValueError, TypeError, KeyError, AttributeError):  # params that no record can be made of
            digest = random.randbytes(32)
        signature = signing.sign(signer, digest) if random.random() < 0.9 else random.randbytes(64)
        return {**auth, "signature": str(Signature.from_bytes(signature))}

    def _nearly(self, method: str) -> Json:
        """Valid parameters with one place of them changed, before or after they are signed."""
        return self._spoil(self.params(method))

    def _spoil(self, value: Json) -> Json:
        random = self.random
        if isinstance(value, dict) and value and random.random() < 0.85:
            key = random.choice(list(value))
            rest = {name: inner for name, inner in value.items() if name != key}
            choice = random.randrange(4)
            if choice == 0:
                return rest
            if choice == 1:
                return {**value, random.choice([key.upper(), key + "x", "", "__proto__", "auth2"]): value[key]}
            return {**value, key: self._spoil(value[key])}
        if isinstance(value, list) and value and random.random() < 0.7:
            at = random.randrange(len(value))
            return random.choice([value[:at], value * 50, [*value[:at], self._spoil(value[at]), *value[at + 1 :]]])
        if isinstance(value, str) and random.random() < 0.7:
            return random.choice(
                [
                    value[:-1],
                    value + "\n",
                    value + "0",
                    value.upper(),
                    " " + value,
                    value.encode().hex(),
                    list(value[:5]),
                ]
            )
        if isinstance(value, int) and not isinstance(value, bool) and random.random() < 0.7:
            return random.choice([value + 1, value - 1, -value, float(value) + 0.5, str(value), value == 1])
        return self.wild(2)

    # -- requests ------------------------------------------------------------------------------------------------

    def _method(self) -> str:
        return self.random.choice(list(self.contract.methods))

    def _one(self, params: Callable[[str], Json], method: str | None = None) -> Json:
        method = method or self._method()
        made = params(method) if self.contract.methods[method]["params"] else self.random.choice([{}, [], {"x": 1}])
        return {"jsonrpc": "2.0", "id": self.random.choice(IDS[:10]), "method": method, "params": made}

    def _call(self, kind: str, params: Callable[[str], Json]) -> Request:
        return Request(kind, _dump(self._one(params)))

    def _envelope(self) -> Request:
        random, call = self.random, self._one(self.params)
        spoiled: list[Json] = [
            {**call, "id": random.choice(IDS)},
            {key: value for key, value in call.items() if key != "id"},
            {key: value for key, value in call.items() if key != random.choice(list(call))},
            {**call, "jsonrpc": random.choice(["1.0", 2, None, "2.0 "])},
            {
                **call,
                "method": random.choice([None, 1, "", "rpc.", "getTask ", "GETTASK", "__init__", "x" * 9_000, [], {}]),
            },
            {**call, "params": random.choice([None, [], [1], "x", 1, True, [call["params"]]])},
            {**call, "extra": 1},
            random.choice([None, 1, "x", True, [], [[]], [[call]], {}]),
        ]
        return Request("envelope", _dump(random.choice(spoiled)))

    def _batch(self) -> Request:
        random = self.random
        size = random.choice([0, 1, 2, 31, 32, 33, 51, 1_000, 10_000])
        if size > 33:
            return Request(
                "batch",
                b"[" + b",".join([b'{"jsonrpc":"2.0","id":1,"method":"getHealth"}'] * size) + b"]",
                code=Code.INVALID_REQUEST,
            )
        return Request("batch", _dump([self._one(random.choice([self.params, self._nearly])) for _ in range(size)]))

    def _bytes(self) -> Request:
        """Bytes that are no proper JSON, or only just."""
        random, body = self.random, _dump(self._one(self.params))
        at = random.randrange(len(body))
        deep = random.choice([33, 1_000, 100_000])
        broken: list[tuple[bytes, Code | None]] = [
            (body[:at], Code.PARSE_ERROR),
            (body[:at] + random.randbytes(3) + body[at:], None),
            (body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :], None),
            (body.replace(b'"id":', b'"id":NaN,"x":', 1), Code.PARSE_ERROR),
            (body.replace(b'"params":', b'"params":-Infinity,"x":', 1), Code.PARSE_ERROR),
            (body.replace(b'"id":', b'"id":1,"id":', 1), Code.PARSE_ERROR),
            (body.replace(b'"id":', b'"id":1' + b"0" * random.choice([20, 5_000]) + b',"x":', 1), Code.PARSE_ERROR),
            (body.replace(b'"id":', b'"id":"\\ud800","x":', 1), Code.PARSE_ERROR),
            (body.replace(b'"id":', b'"id":1e999,"x":', 1), Code.PARSE_ERROR),
            (b"[" * deep + b"]" * deep, Code.PARSE_ERROR),
            (b'{"a":' * deep + b"1" + b"}" * deep, Code.PARSE_ERROR),
            (b'"' + b'\\"' * 100_000, Code.PARSE_ERROR),
            (body + body, Code.PARSE_ERROR),
            (b"\xef\xbb\xbf" + body, Code.PARSE_ERROR),
            (body.decode().encode("utf-16"), Code.PARSE_ERROR),
            (body.replace(b"getTask", b"get\xc0\x80Task"), None),
            (b"", Code.PARSE_ERROR),
            (b" " * 1_000, Code.PARSE_ERROR),
            (random.randbytes(200), Code.PARSE_ERROR),
            (b"{" + b",".join(b'"%d":1' % n for n in range(300)) + b"}", Code.PARSE_ERROR),
        ]
        made, code = random.choice(broken)
        return Request("bytes", made, code=code)

    def _http(self) -> Request:
        random, body = self.random, _dump(self._one(self.params))
        return random.choice(
            [
                Request(
                    "http", body, headers={"Content-Type": random.choice(["text/plain", "application/xml", "x", ""])}
                ),
                Request(
                    "http",
                    body,
                    headers={"Content-Encoding": random.choice(["gzip", "deflate", "br", "zstd", "gzip, gzip"])},
                ),
                Request(
                    "http",
                    body,
                    headers={
                        "X-A": "b" * 9_000,
                        "Cookie": "a=b",
                        "Authorization": "Bearer x",
                        "Expect": "100-continue",
                    },
                ),
                Request(
                    "http",
                    body,
                    verb=random.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "FOO"]),
                ),
                Request(
                    "http",
                    body,
                    path=random.choice(["/x", "//", "/health", "/metrics", "/openrpc.json", "/?a=b", "/%00", "/%ff"]),
                ),
                Request(
                    "http",
                    b"",
                    verb="GET",
                    path=random.choice(["/health", "/metrics", "/openrpc.json", "/x", "/blobs/", "/blobs"]),
                ),
                Request("http", b" " * 1_100_000),
            ]
        )

    def _blob(self) -> Request:
        random = self.random
        data = random.choice([DATASET, random.randbytes(50), b""])
        name = random.choice(
            [self._text(HEX, 64), *self.world.known["blob"], "x", "AB" * 32, "a" * 63, "..%2f..%2fstore", "a" * 5_000]
        )
        if random.random() < 0.4:
            return Request(
                "blob",
                b"",
                verb="GET",
                path=f"/blobs/{name}",
                headers=random.choice([{}, {"Range": "bytes=0-3"}, {"Range": "bytes=x"}]),
            )
        party = random.choice(list(self.world.parties))
        auth = self._auth(party, "putBlob", {"sha256": name, "bytes": len(data)})
        encoded = base64.urlsafe_b64encode(_dump(random.choice([auth, self._spoil(auth), self.wild(2)]))).decode()
        header = random.choice(
            [f"Pouw {encoded}"] * 5 + [f"Bearer {encoded}", "Pouw", "Pouw %%%", "Pouw " + "A" * 9_000, encoded]
        )
        return Request("blob", data, verb="PUT", path=f"/blobs/{name}", headers={"Authorization": header})


def _dump(value: Json) -> bytes:
    return json.dumps(value).encode()


class Finding(AssertionError):
    """An answer that must not be."""


class Judge:
    """Sends requests and holds every answer against the contract. `counts` are how often each way ended each way."""

    def __init__(self, http: httpx.AsyncClient, contract: Contract) -> None:
        self.http, self.contract = http, contract
        self.counts: Counter[tuple[str, str]] = Counter()

    async def send(self, request: Request) -> list[Json]:
        """The JSON-RPC answers. Finding when the connection broke, on a status of the node's fault, or on an answer that is not documented."""
        try:
            response = await self.http.request(
                request.verb, request.path, content=request.body, headers=request.headers
            )
        except httpx.HTTPError as error:
            raise Finding(f"{request.kind}: {type(error).__name__} {error} on {show(request)}") from error
        try:
            return self._judge(request, response)
        except AssertionError as error:
            raise Finding(
                f"{request.kind}: {error}\n{show(request)}\n{response.status_code} {response.content[:600]!r}"
            ) from error

    def _judge(self, request: Request, response: httpx.Response) -> list[Json]:
        assert response.status_code < 500, "a status of the node's fault"
        if request.verb != "POST" or response.request.url.path != "/":
            self.counts[request.kind, str(response.status_code)] += 1
            refused = (
                response.status_code >= 400 and request.path.startswith("/blobs/") and request.verb in ("GET", "PUT")
            )
            if refused and response.headers.get("content-type") == "application/json":
                assert response.json()["error"]["message"]
            return []
        if response.status_code == 204:
            self.counts[request.kind, "nothing"] += 1
            return []
        body = msgspec.json.decode(response.content)
        if response.status_code >= 400:
            assert body["error"]["code"] == Code.INVALID_REQUEST
            self.counts[request.kind, str(response.status_code)] += 1
            return [body]
        answers = body if isinstance(body, list) else [body]
        asked = _methods(request.body)
        for answer in answers:
            method = asked.get(_key(answer["id"]))
            self.contract.check(method, answer)
            outcome = Code(answer["error"]["code"]).name if "error" in answer else "result"
            assert outcome != Code.INTERNAL_ERROR.name, "an error of the node's fault"
            if request.code is not None:
                assert outcome == request.code.name, f"expected {request.code.name}"
            self.counts[request.kind, outcome] += 1
        return answers


def _methods(body: bytes) -> dict[str, str]:
    """Which method was called under which id, as far as the body is JSON and an id names one call."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    calls = [call for call in (value if isinstance(value, list) else [value]) if isinstance(call, dict)]
    ids = Counter(_key(call.get("id")) for call in calls)
    return {
        _key(call["id"]): call["method"]
        for call in calls
        if "id" in call and ids[_key(call["id"])] == 1 and isinstance(call.get("method"), str)
    }


def _key(identifier: Json) -> str:
    return json.dumps(identifier)


def show(request: Request) -> str:
    return f"{request.verb} {request.path} {request.headers} {request.body[:1500]!r}"
