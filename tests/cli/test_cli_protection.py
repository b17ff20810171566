"""A validator's slashing protection goes from one data directory to another."""

from __future__ import annotations

import json
import resource

import trio

from settlement import durable
from settlement.bls import SecretKey
from settlement.keys import write_bls_key
from validator.slashing_protection import SlashingProtection


async def test_what_was_signed_on_one_machine_is_not_signed_otherwise_on_another(pouw, tmp_path, l1):
    secret, domain = SecretKey.generate(), await l1.client.domain()
    key, file, old, new = (tmp_path / name for name in ("bls.json", "export.json", "old", "new"))
    write_bls_key(key, secret.to_bytes(), secret.public_key)
    with SlashingProtection(old / "slashing_protection.sqlite", domain, bytes(secret.public_key)) as protection:
        protection.record(7, 0, b"a" * 32, 100, final_epoch=3)

    async def run(*arguments):
        return await trio.to_thread.run_sync(
            lambda: pouw("validator", "protection", *arguments, "--bls-keypair", key, "--url", l1.url, "--json")
        )

    ran = await run("export", file, "--data-dir", new)
    assert ran.code == 1 and "there is no slashing_protection.sqlite" in ran.err
    ran = await run("export", file, "--data-dir", old)
    assert ran.json == {"file": str(file), "attestations": 1, "floor_epoch": 3}
    ran = await run("export", file, "--data-dir", old)
    assert ran.code == 1 and f"{file} is there already" in ran.err
    ran = await run("import", file, "--data-dir", new)
    assert ran.json == {"data_dir": str(new), "new_attestations": 1, "floor_epoch": 3}
    with SlashingProtection(new / "slashing_protection.sqlite", domain, bytes(secret.public_key)) as protection:
        vote = protection.last_of(7)
        assert vote is not None and vote.digest == b"a" * 32
        ran = await run("import", file, "--data-dir", new)
        assert ran.code == 1 and "in use by another process" in ran.err
    file.write_text(json.dumps({"metadata": {}}))
    ran = await run("import", file, "--data-dir", new)
    assert ran.code == 1 and "malformed" in ran.err
    file.write_text("{")
    ran = await run("import", file, "--data-dir", new)
    assert ran.code == 1 and "is no JSON" in ran.err


async def test_an_export_is_whole_or_not_there(pouw, tmp_path, l1):
    """Another machine trusts it to be all that was signed."""
    secret, domain = SecretKey.generate(), await l1.client.domain()
    key, file, folder = tmp_path / "bls.json", tmp_path / "export.json", tmp_path / "data"
    write_bls_key(key, secret.to_bytes(), secret.public_key)
    with SlashingProtection(folder / "slashing_protection.sqlite", domain, bytes(secret.public_key)) as protection:
        for epoch in range(1, 40):
            protection.record(epoch, 0, b"a" * 32, 100)
        whole = protection.export()

    async def export(hook):
        def ran():
            before, limits = durable.set_hook(hook), resource.getrlimit(resource.RLIMIT_FSIZE)
            try:
                return pouw(
                    *("validator", "protection", "export", file, "--data-dir", folder),
                    *("--bls-keypair", key, "--url", l1.url, "--json"),
                )
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                durable.set_hook(before)

        return await trio.to_thread.run_sync(ran)

    def full(point, path):
        if point == durable.WRITING:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    ran = await export(full)
    assert ran.code == 1 and f"{file} cannot be written: File too large" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["bls.json"]

    seen = []

    def look(point, path):
        if path.suffix != ".sqlite":
            seen.append((point, json.loads(file.read_text()) if file.exists() else None))

    ran = await export(look)
    assert ran.json["attestations"] == 39
    done = [durable.RENAMED, durable.DURABLE]
    assert [point for point, _ in seen] == [durable.WRITING, durable.WRITTEN, durable.SYNCED, *done]
    assert all(found == (whole if point in done else None) for point, found in seen)
