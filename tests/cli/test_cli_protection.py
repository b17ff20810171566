"""A validator's slashing protection goes from one data directory to another."""

from __future__ import annotations

import json

import trio

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
    assert ran.code == 1 and str(file) in ran.err
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
