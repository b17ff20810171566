"""What all parties must agree on byte for byte, as pure rules, and the clients of the L1 program and of the sequencer.

docs/protocol.md is the specification. Nothing here imports a sibling package.
"""
