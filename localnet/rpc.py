"""The JSON-RPC methods of the embedded L1, all in one table."""

from localnet import (
    methods_accounts,
    methods_cluster,
    methods_ledger,
    methods_signatures,
    methods_tokens,
    methods_transactions,
)
from localnet.registry import Methods

METHODS = Methods(
    methods_ledger.methods,
    methods_cluster.methods,
    methods_accounts.methods,
    methods_tokens.methods,
    methods_transactions.methods,
    methods_signatures.methods,
)
