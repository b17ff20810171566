"""A sequencer that censors, for tests: it never takes an inbox entry. Arguments: those of `pouw sequencer run`.

All else it does as an honest one does, over the same data, so that only what it leaves out can be held against it.
"""

from cli import main
from sequencer import l1_view
from sequencer.l1_port import L1Port
from sequencer.node import Node
from settlement.accounts import Config


async def take_nothing(node: Node, port: L1Port, config: Config) -> None:
    return None


if __name__ == "__main__":
    l1_view._take_deposits = take_nothing
    main.main()
