"""Figures, each with the command that makes it: `./run python -m bench.NAME [--json]`.

A benchmark prints a table for people, which docs/figures.md holds as printed, or with `--json` one line for machines. Progress and notes go
to stderr.
"""
