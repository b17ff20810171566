"""The sequencer's JSON-RPC and blobs (docs/rpc.md), for worker, validator and command line: httpx under trio.

    Exception
    └── SequencerError
        ├── SequencerUnreachable    no usable answer in a bounded number of attempts
        ├── RpcError                the sequencer refused: .code, .message, .data of its error object
        ├── BadAnswer               it answered something that docs/rpc.md does not allow, or a blob of another hash
        └── WrongChain              it serves another genesis or program than expected; nothing was signed for it

Every call may be repeated: a read changes nothing, a record is the same record again, and the signed calls set what they name. So all are
retried when the connection fails or the server is overloaded or not in touch with L1, a signed one anew with a fresh nonce.
"""

from __future__ import annotations

import base64
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx
import msgspec
import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from settlement import records, signing
from settlement.records import Record
from settlement.rpc_codes import Code
from settlement.signing import Domain

MAX_BLOB_BYTES: Final = 64 * 2**20
MAX_ANSWER_BYTES: Final = 16 * 2**20
TIMEOUT_SECONDS: Final = 30.0
ATTEMPTS: Final = 6
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
RECORD_EXPIRY_SLOTS: Final = 512
"""The middle of what the sequencer takes for records, + 32 to + 1,024."""
CALL_EXPIRY_SLOTS: Final = 256
SLOT_FRESH_SECONDS: Final = 10.0
"""At 0.4 s a slot this is 25 slots, far less than either margin above."""
_RETRIED_STATUS: Final = frozenset({429, 502, 503, 504})
_WAITED_OUT: Final = frozenset({Code.RATE_LIMITED, Code.NODE_UNHEALTHY})
"""A full epoch is posted within seconds, and a sequencer just started hears from L1 as soon. Only getHealth asks for that very state."""
_CHUNK_BYTES: Final = 2**20

T = TypeVar("T")


class SequencerError(Exception):
    """Root of what this client raises."""


class SequencerUnreachable(SequencerError):
    def __init__(self, url: str, what: str, attempts: int, reason: str) -> None:
        super().__init__(f"the sequencer at {url} did not answer {what} in {attempts} attempts: {reason}")
        self.url, self.what, self.attempts, self.reason = url, what, attempts, reason


class RpcError(SequencerError):
    """A refusal with the numbers of docs/rpc.md; `data` is the error object's, {} when it has none."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any]) -> None:
        super().__init__(f"{message} (code {code})")
        self.code, self.message, self.data = code, message, data


class BadAnswer(SequencerError):
    pass


class WrongChain(SequencerError):
    pass


class _Retry(Exception):
    """An attempt that failed in a way that another may not; `refusal` is what the caller gets when none is left."""

    def __init__(self, reason: str, refusal: RpcError | None = None) -> None:
        super().__init__(reason)
        self.refusal = refusal


class SequencerClient:
    """One sequencer at `url`; an async context manager, safe for concurrent calls.

    `keypair` signs; without one only plain calls work. `genesis` and `program` (32 bytes), when given, are what the sequencer must serve:
    otherwise WrongChain, before anything is signed.
    """

    def __init__(
        self,
        url: str,
        keypair: Keypair | None = None,
        *,
        genesis: bytes | None = None,
        program: bytes | None = None,
        attempts: int = ATTEMPTS,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.keypair = keypair
        self._genesis, self._program = genesis, program
        self._attempts = attempts
        self._domain: Domain | None = None
        self._slot: tuple[int, float] | None = None
        # A proxy from the environment must not come between us and a loopback address; compressed answers could grow without bound.
        self._http = httpx.AsyncClient(
            timeout=timeout_seconds, transport=transport, trust_env=False, headers={"Accept-Encoding": "identity"}
        )

    async def __aenter__(self) -> SequencerClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._http.aclose()

    @property
    def public_key(self) -> bytes:
        return bytes(self._signer().pubkey())

    async def domain(self) -> Domain:
        """The chain the sequencer serves, from getVersion, once it is known to be the expected one. Asked once."""
        if self._domain is None:
            version = await self.call("getVersion")
            try:
                served = Domain(
                    bytes(Hash.from_string(version["genesisHash"])), bytes(Pubkey.from_string(version["programId"]))
                )
            except (KeyError, TypeError, ValueError) as error:
                raise BadAnswer(f"getVersion names no genesisHash and programId in base58: {version!r}") from error
            for name, expected, got in (
                ("genesis hash", self._genesis, served.genesis),
                ("program id", self._program, served.program),
            ):
                if expected is not None and expected != got:
                    raise WrongChain(
                        f"the sequencer at {self.url} serves {name} {Pubkey(got)}, expected {Pubkey(expected)}"
                    )
            self._domain = served
        return self._domain

    async def slot(self) -> int:
        """The sequencer's current L1 slot, at most SLOT_FRESH_SECONDS old."""
        if self._slot is None or trio.current_time() - self._slot[1] > SLOT_FRESH_SECONDS:
            self._slot = (await self._repeat("getEpochInfo", self._read_slot), trio.current_time())
        return self._slot[0]

    async def _read_slot(self) -> int:
        epoch_info = await self._post("getEpochInfo", {})
        try:
            slot = int(epoch_info["slot"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswer(f"getEpochInfo names no slot: {epoch_info!r}") from error
        if slot == 0:
            raise _Retry("it does not know L1's slot yet")
        return slot

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """The value of an unsigned call."""
        body = dict(params or {})
        return await self._repeat(method, lambda: self._post(method, body))

    async def call_signed(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """The value of a call that docs/rpc.md marks "signed"; `auth` is added here."""
        body = dict(params or {})

        async def attempt() -> Any:
            return await self._post(method, {**body, "auth": await self._auth(method, body)})

        return await self._repeat(method, attempt)

    async def call_record(
        self, method: str, params: Mapping[str, Any], record: Record, *, expiry_slot: int | None = None
    ) -> Any:
        """The value of a call that becomes `record`, which the server rebuilds from `params`: `auth` is our signature over it.

        The signature expires at `expiry_slot`, RECORD_EXPIRY_SLOTS from now when not given.
        """
        expiry = await self.slot() + RECORD_EXPIRY_SLOTS if expiry_slot is None else expiry_slot
        digest = signing.authorisation_digest(await self.domain(), expiry, records.encode(record))
        auth = {
            "publicKey": str(self._signer().pubkey()),
            "expirySlot": expiry,
            "signature": self._signature(digest),
        }
        return await self.call(method, {**params, "auth": auth})

    async def put_blob(self, blob: bytes | Path) -> str:
        """Uploads bytes or a file; its sha256 in hex, which is the name to get it by. At most 64 MiB."""
        if isinstance(blob, Path):
            size = (await trio.to_thread.run_sync(blob.stat)).st_size
            name = await trio.to_thread.run_sync(_file_sha256, blob)
        else:
            size, name = len(blob), sha256(blob).hexdigest()
        if size > MAX_BLOB_BYTES:
            raise ValueError(f"a blob has at most {MAX_BLOB_BYTES} bytes, this one has {size}")
        params = {"sha256": name, "bytes": size}

        async def attempt() -> None:
            auth = msgspec.json.encode(await self._auth("putBlob", params))
            headers = {
                "Authorization": "Pouw " + base64.urlsafe_b64encode(auth).decode(),
                "Content-Length": str(size),
            }
            content = _file_chunks(blob) if isinstance(blob, Path) else blob
            async with self._send("PUT", f"/blobs/{name}", content=content, headers=headers) as response:
                answer = await _read(response, MAX_ANSWER_BYTES)
                if response.status_code not in (200, 201, 204):
                    raise _refusal(response.status_code, answer)

        await self._repeat(f"putBlob {name}", attempt)
        return name

    async def get_blob(self, name: str, max_bytes: int = MAX_BLOB_BYTES) -> bytes:
        """The bytes whose sha256 is `name` (hex). BadAnswer when they are not, or are more than max_bytes; RpcError when there are none."""

        async def attempt() -> bytes:
            async with self._open_blob(name) as response:
                data = await _read(response, max_bytes)
            if sha256(data).hexdigest() != name:
                raise BadAnswer(f"the blob {name} came with sha256 {sha256(data).hexdigest()}")
            return data

        return await self._repeat(f"getBlob {name}", attempt)

    async def get_blob_to(self, name: str, path: Path, max_bytes: int = MAX_BLOB_BYTES) -> None:
        """Streams the blob into `path`, which appears only once it is whole and its hash is right. Errors as get_blob."""
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")

        async def attempt() -> None:
            digest, size = sha256(), 0
            async with self._open_blob(name) as response, await trio.open_file(partial, "wb") as file:
                async for chunk in response.aiter_raw(_CHUNK_BYTES):
                    size += len(chunk)
                    if size > max_bytes:
                        raise BadAnswer(f"the blob {name} has more than {max_bytes} bytes")
                    digest.update(chunk)
                    await file.write(chunk)
            if digest.hexdigest() != name:
                raise BadAnswer(f"the blob {name} came with sha256 {digest.hexdigest()}")

        try:
            await self._repeat(f"getBlob {name}", attempt)
            await trio.Path(partial).rename(path)
        finally:
            with trio.CancelScope(shield=True):
                await trio.Path(partial).unlink(missing_ok=True)

    def _signer(self) -> Keypair:
        if self.keypair is None:
            raise ValueError("this client has no keypair to sign with")
        return self.keypair

    def _signature(self, digest: bytes) -> str:
        return str(Signature.from_bytes(signing.sign(self._signer(), digest)))

    async def _auth(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        nonce = secrets.randbits(53)
        expiry = await self.slot() + CALL_EXPIRY_SLOTS
        digest = signing.rpc_digest(await self.domain(), method, params, nonce, expiry)
        return {
            "publicKey": str(self._signer().pubkey()),
            "nonce": nonce,
            "expirySlot": expiry,
            "signature": self._signature(digest),
        }

    async def _post(self, method: str, params: Mapping[str, Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Content-Type": "application/json"}
        content = msgspec.json.encode(request)
        async with self._send("POST", "/", content=content, headers=headers) as response:
            answer = _decode(await _read(response, MAX_ANSWER_BYTES), response.status_code)
        if "error" in answer:
            error = _rpc_error(answer["error"])
            if error.code in _WAITED_OUT and method != "getHealth":
                raise _Retry(str(error), error) from error
            raise error
        if "result" not in answer:
            raise BadAnswer(f"{method} was answered with neither result nor error")
        result = answer["result"]
        if isinstance(result, dict) and result.keys() == {"context", "value"}:
            context = result["context"]
            if isinstance(context, dict) and isinstance(context.get("slot"), int) and context["slot"] > 0:
                self._slot = (context["slot"], trio.current_time())
            return result["value"]
        return result

    @asynccontextmanager
    async def _open_blob(self, name: str) -> AsyncIterator[httpx.Response]:
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise ValueError(f"a blob's name is its sha256 in lower-case hex, got {name!r}")
        async with self._send("GET", f"/blobs/{name}") as response:
            if response.status_code != 200:
                raise _refusal(response.status_code, await _read(response, MAX_ANSWER_BYTES))
            yield response

    @asynccontextmanager
    async def _send(self, verb: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        try:
            async with self._http.stream(verb, self.url + path, **options) as response:
                if response.status_code in _RETRIED_STATUS:
                    raise _Retry(f"HTTP status {response.status_code}")
                if "content-encoding" in response.headers:
                    raise BadAnswer(f"{verb} {path} was answered in an encoding that was not asked for")
                yield response
        except httpx.TransportError as error:
            raise _Retry(f"{type(error).__name__}: {error}") from error

    async def _repeat(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        pause, last = FIRST_BACKOFF_SECONDS, _Retry("")
        for count in range(self._attempts):
            if count:
                await trio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(2 * pause, MAX_BACKOFF_SECONDS)
            try:
                return await attempt()
            except _Retry as failure:
                last = failure
        if last.refusal is not None:
            raise last.refusal
        raise SequencerUnreachable(self.url, what, self._attempts, str(last))


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_raw(_CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise BadAnswer(f"the answer has more than {max_bytes} bytes")
    return bytes(data)


def _decode(body: bytes, status: int) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"HTTP status {status} with a body that is no JSON: {error}") from None
    if not isinstance(answer, dict):
        raise BadAnswer(f"HTTP status {status} with JSON that is no object")
    return answer


def _refusal(status: int, body: bytes) -> SequencerError:
    try:
        answer = _decode(body, status)
    except BadAnswer:
        answer = {}
    if "error" in answer:
        return _rpc_error(answer["error"])
    return BadAnswer(f"HTTP status {status}: {body[:200].decode(errors='replace')}")


def _rpc_error(error: Any) -> RpcError:
    try:
        code, message, data = int(error["code"]), str(error["message"]), error.get("data")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadAnswer(f"an error object without code and message: {error!r}") from None
    return RpcError(code, message, data if isinstance(data, dict) else {})


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    async with await trio.open_file(path, "rb") as file:
        while chunk := await file.read(_CHUNK_BYTES):
            yield chunk
