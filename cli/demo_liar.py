"""The demo's lying worker: the real worker's loop, which alters what it trained before it commits to it.

It adds a little to one weight of the final model and makes state, trace and model consistent with that, so that nothing but a replay of the last
interval shows the lie. `python -m cli.demo_liar --config WORKER.toml`.
"""

import argparse
import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

from cli.runtime import serve
from worker.config import WorkerConfig
from worker.job import Execute, Job, Trained
from worker.loop import run


def altered(trained: Trained, folder: Path) -> Trained:
    """The result with one bit of a weight's last byte flipped in the final model and in the final state that holds it."""
    last = trained.entries[-1]
    model = bytearray(trained.files[last.model_hash].read_bytes())
    state = bytearray(trained.files[last.state_hash].read_bytes())
    weights = bytes(model[-64:])  # tensors lie at the end of a safetensors file; the state holds the same bytes
    place = state.index(weights)
    model[-2] ^= 1
    state[place + 62] ^= 1
    files = dict(trained.files)
    names = []
    for content in (model, state):
        name = hashlib.sha256(content).digest()
        files[name] = folder / f"{name.hex()}.safetensors"
        files[name].write_bytes(content)
        names.append(name)
    entries = (*trained.entries[:-1], replace(last, model_hash=names[0], state_hash=names[1]))
    return replace(trained, entries=entries, files=files, model_hash=names[0])


async def lie(job: Job, execute: Execute) -> Trained:
    return altered(await execute(job), job.folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config = WorkerConfig(**tomllib.loads(parser.parse_args().config.read_text()))

    async def service(config: WorkerConfig, *, task_status):  # type: ignore[no-untyped-def]
        await run(config, execute=lie, task_status=task_status)

    serve(service, config, "lying worker")


if __name__ == "__main__":
    main()
