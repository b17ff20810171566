"""Wires the room: opens the node on its ledger, opens the nursery with the clock and the two servers in it."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, replace
from pathlib import Path

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as serve_asgi
from solders.hash import Hash
from solders.pubkey import Pubkey
from trio_websocket import WebSocketServer

from localnet.clock import IntervalClock, SlotClock
from localnet.config import LocalnetConfig
from localnet.node import Node
from localnet.server_http import make_app
from localnet.server_websocket import MAX_MESSAGE_BYTES, WebSocketServerSide
from localnet.start import StartError, open_node
from localnet.subscriptions import Hub

MAX_PORT = 65_535
FREE_PORT_TRIES = 50
LISTEN_BACKLOG = 128
IDLE_SECONDS = 90
SHUTDOWN_GRACE_SECONDS = 1.0
UNREAD_ANSWER_MS = 10_000

_log = logging.getLogger("localnet")

__all__ = ["Endpoints", "StartError", "serve"]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a started localnet is found, and which cluster it is. `slot` is the one that it opened at the start."""

    rpc_port: int
    websocket_port: int
    rpc_url: str
    websocket_url: str
    genesis_hash: Hash
    faucet: Pubkey
    identity: Pubkey
    ledger: Path | None
    slot: int


async def serve(
    config: LocalnetConfig,
    *,
    clock: SlotClock | None = None,
    task_status: trio.TaskStatus[Endpoints] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until it is cancelled; `task_status.started` is called with the endpoints once both ports answer.

    Tests pass a ManualClock to let slots pass by hand. Raises StartError, LedgerError, KeyFileError, ProgramLoadError.
    """
    clock = clock or IntervalClock(config.slot_ms)
    with open_node(config, clock.now()) as opened:
        first_slot = opened.bank.slot
        if _log.isEnabledFor(logging.INFO):
            opened.bank.on_slot.append(lambda: _log_slot(opened))
        rpc_socket, websocket_socket = _bind(config.bind_address, config.rpc_port)
        rpc_port, websocket_port = rpc_socket.getsockname()[1], websocket_socket.getsockname()[1]
        host = f"[{config.bind_address}]" if ":" in config.bind_address else config.bind_address
        node = replace(opened, rpc_address=f"{host}:{rpc_port}", websocket_address=f"{host}:{websocket_port}")
        hub = Hub(node, clock.now, block_subscription=config.block_subscription)
        websocket = WebSocketServer(
            WebSocketServerSide(hub).handle,
            [trio.SocketListener(trio.socket.from_stdlib_socket(websocket_socket))],
            max_message_size=MAX_MESSAGE_BYTES,
            connect_timeout=SHUTDOWN_GRACE_SECONDS * 10,
            disconnect_timeout=SHUTDOWN_GRACE_SECONDS,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_asgi, make_app(node), _hypercorn_config(rpc_socket))
            await nursery.start(websocket.run)
            nursery.start_soon(clock.run, node.bank.advance)
            # The clock is running before anyone is told that the localnet is there.
            await trio.lowlevel.checkpoint()
            task_status.started(
                Endpoints(
                    rpc_port,
                    websocket_port,
                    f"http://{host}:{rpc_port}",
                    f"ws://{host}:{websocket_port}",
                    node.genesis_hash,
                    node.faucet.pubkey(),
                    node.identity,
                    config.ledger,
                    first_slot,
                )
            )


def _log_slot(node: Node) -> None:
    block = node.bank.history.block(node.bank.slot - 1)
    if block is not None and block.transactions:
        failed = sum(landed.error is not None for landed in block.transactions)
        units = sum(landed.compute_units for landed in block.transactions)
        _log.info(
            "slot %d: %d landed, %d of them failed, %d compute units",
            block.slot,
            len(block.transactions),
            failed,
            units,
        )


def _bind(address: str, rpc_port: int) -> tuple[socket.socket, socket.socket]:
    if not 0 <= rpc_port < MAX_PORT:
        raise StartError(
            f"--rpc-port {rpc_port} must be 0 (any) or from 1 to {MAX_PORT - 1}; WebSocket takes the next one"
        )
    for _ in range(FREE_PORT_TRIES if rpc_port == 0 else 1):
        first = _listen(address, rpc_port)
        try:
            return first, _listen(address, first.getsockname()[1] + 1)
        except (StartError, OverflowError):
            first.close()
            if rpc_port != 0:
                raise
    raise StartError(f"found no two free ports in a row on {address}")


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A client that never reads its answer must not hold up a shutdown; accepted sockets inherit this.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_ANSWER_MS)
        listener.bind((address, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {address} port {port}: {error.strerror}; choose others with --rpc-port "
            "(WebSocket takes the next one) and --bind-address"
        ) from error
    return listener


def _hypercorn_config(listener: socket.socket) -> HypercornConfig:
    config = HypercornConfig()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_SECONDS
    config.keep_alive_max_requests = 1_000_000
    config.read_timeout = IDLE_SECONDS
    config.graceful_timeout = SHUTDOWN_GRACE_SECONDS
    return config
