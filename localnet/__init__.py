"""The embedded L1: Solana's JSON-RPC and WebSocket interfaces over LiteSVM, in one process and without a toolchain.

For development and tests. It keeps what clients depend on (blockhashes that expire, commitment levels that differ,
agave's shapes and error codes) and has no consensus: one process is the whole cluster, its one validator holds all of
the stake and votes on nothing. docs/localnet.md says what differs from a real one.
It imports no other room of this project.
"""
