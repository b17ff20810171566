"""What can go wrong between us and L1, as one tree:

    L1Error
    ├── L1Unreachable          no answer after bounded retries; whether a transaction landed is not known
    ├── L1Disagreement         the nodes that were asked contradict each other: wait, never guess
    ├── L1RpcError             the node answered with a JSON-RPC error (code, message)
    ├── TransactionError       a transaction did not do what it was sent for
    │   ├── TransactionExpired     its blockhash is too old at finalized and it is nowhere: it never lands, a new one may be signed
    │   └── TransactionFailed      it was executed, or simulated by preflight, and failed (logs)
    │       └── ProgramError           with a custom code of a program; of ours, with the name and message of the IDL
    ├── AccountError           an account is not what its address promises
    │   ├── AccountMissing
    │   └── AccountInvalid         wrong owner, discriminator, length or version
    └── ClusterMismatch        a program that we were not meant to talk to
        ├── NotInitialized         no Config account
        ├── GenesisMismatch        the Config belongs to another cluster
        ├── ProfileMismatch        a parameter differs from the one expected
        └── FeatureMissing         the cluster's runtime cannot run the program

    TransactionTooLarge (ValueError)  the instructions do not fit one transaction; nothing was sent
    IdlError (ValueError)      the IDL lacks what was asked for, or a value does not fit its type
    KeyFileError (ValueError)  a key or configuration file cannot be used
    ProgramFileError (ValueError)  a file is no program, or not the one that was asked for
    DeployError (Exception)    a program cannot be deployed or upgraded as asked; nothing was spent unless the message says so

Only TransactionExpired allows a caller to sign anew. The idea of drawing the tree is httpx's.
"""

from __future__ import annotations

from collections.abc import Sequence


class L1Error(Exception):
    """Root of everything that L1 or the way to it can raise."""


class L1Unreachable(L1Error):
    """The node at `url` gave no usable answer in `attempts` attempts. `retry_after_seconds` is what it asked for, 0 when nothing."""

    def __init__(self, url: str, method: str, attempts: int, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"L1 at {url} did not answer {method} in {attempts} attempts: {reason}")
        self.url, self.method, self.attempts, self.reason = url, method, attempts, reason
        self.retry_after_seconds = retry_after_seconds


class L1Disagreement(L1Error):
    """No majority of the configured nodes gave one answer."""

    def __init__(self, method: str, urls: Sequence[str]) -> None:
        super().__init__(
            f"the L1 nodes {', '.join(urls)} contradict each other on {method}: waiting until a majority agrees"
        )
        self.method, self.urls = method, tuple(urls)


class L1RpcError(L1Error):
    """A JSON-RPC error; `code` is None where the RPC library does not tell it."""

    def __init__(self, method: str, code: int | None, message: str) -> None:
        super().__init__(f"{method}: {message}" + ("" if code is None else f" (code {code})"))
        self.method, self.code, self.message = method, code, message


class TransactionError(L1Error):
    """`signature` is the base58 transaction signature."""

    def __init__(self, message: str, signature: str) -> None:
        super().__init__(message)
        self.signature = signature


class TransactionExpired(TransactionError):
    def __init__(self, signature: str, last_valid_block_height: int, block_height: int) -> None:
        super().__init__(
            f"transaction {signature} was in no block up to its last valid height {last_valid_block_height} "
            f"(finalized height is {block_height}); it can no longer land",
            signature,
        )
        self.last_valid_block_height, self.block_height = last_valid_block_height, block_height


class TransactionFailed(TransactionError):
    """`landed` tells an executed transaction (fee paid) from one that preflight refused (nothing was sent on)."""

    def __init__(self, reason: str, signature: str, logs: Sequence[str], landed: bool) -> None:
        where = "failed on L1" if landed else "refused by preflight"
        super().__init__(f"transaction {signature} {where}: {reason}", signature)
        self.reason, self.logs, self.landed = reason, tuple(logs), landed


class ProgramError(TransactionFailed):
    """`name` is the IDL's name for `code` (None for a program or code that is not in it), `instruction_index` counts from 0
    over the transaction's instructions, compute budget ones included."""

    def __init__(
        self,
        code: int,
        name: str | None,
        message: str,
        program: str | None,
        instruction_index: int,
        signature: str,
        logs: Sequence[str],
        landed: bool,
    ) -> None:
        shown = f"{name} ({code})" if name else f"custom error {code}"
        super().__init__(f"{shown} in instruction {instruction_index}: {message}", signature, logs, landed)
        self.code, self.name, self.program_message = code, name, message
        self.program, self.instruction_index = program, instruction_index


class AccountError(L1Error):
    def __init__(self, address: str, message: str) -> None:
        super().__init__(f"account {address}: {message}")
        self.address = address


class AccountMissing(AccountError):
    def __init__(self, address: str, kind: str) -> None:
        super().__init__(address, f"there is no {kind} here")
        self.kind = kind


class AccountInvalid(AccountError):
    pass


class ClusterMismatch(L1Error):
    pass


class NotInitialized(ClusterMismatch):
    def __init__(self, program_id: str, url: str) -> None:
        super().__init__(
            f"program {program_id} is not initialised on {url}: run `pouw init` with its upgrade authority first"
        )
        self.program_id = program_id


class GenesisMismatch(ClusterMismatch):
    def __init__(self, configured: bytes, cluster: bytes) -> None:
        super().__init__(
            f"the Config account was initialised for genesis hash {configured.hex()}, but this cluster's is {cluster.hex()}"
        )
        self.configured, self.cluster = configured, cluster


class ProfileMismatch(ClusterMismatch):
    def __init__(self, parameter: str, on_chain: int, expected: int) -> None:
        super().__init__(f"parameter {parameter} is {on_chain} on L1, expected {expected}")
        self.parameter, self.on_chain, self.expected = parameter, on_chain, expected


class FeatureMissing(ClusterMismatch):
    """A feature gate (`address`) is not as the program needs it; `state` tells how it is."""

    def __init__(self, url: str, address: str, name: str, state: str, why: str) -> None:
        super().__init__(
            f"{url} cannot run this program: the feature {name} ({address}) {state} there, and {why}; nothing was spent"
        )
        self.address, self.name, self.state = address, name, state


class TransactionTooLarge(ValueError):
    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"the transaction has {size_bytes:,} bytes, L1 takes {limit_bytes:,}")
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes


class IdlError(ValueError):
    pass


class KeyFileError(ValueError):
    pass


class ProgramFileError(ValueError):
    pass


class DeployError(Exception):
    pass
