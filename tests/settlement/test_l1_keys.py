"""Key files and Solana's configuration file."""

import json
import os
import stat

import pytest
from solders.keypair import Keypair

from settlement import keys
from settlement.errors import KeyFileError


def test_a_keypair_comes_back_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "deep" / "id.json"
    keypair = Keypair()
    previous = os.umask(0)
    try:
        keys.write_keypair(path, keypair)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.read_keypair(path) == keypair
    assert json.loads(path.read_text()) == list(bytes(keypair))


def test_a_key_file_is_never_overwritten(tmp_path):
    path = tmp_path / "id.json"
    first = Keypair()
    keys.write_keypair(path, first)
    with pytest.raises(KeyFileError, match="exists already"):
        keys.write_keypair(path, Keypair())
    with pytest.raises(KeyFileError, match="exists already"):
        keys.write_bls_key(path, bytes(32), bytes(48))
    assert keys.read_keypair(path) == first


def test_a_dangling_link_is_not_followed(tmp_path):
    link = tmp_path / "id.json"
    link.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(KeyFileError, match="exists already"):
        keys.write_keypair(link, Keypair())
    assert not (tmp_path / "elsewhere.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "expected a JSON array of 64 numbers"),
        ("[1,2,3]", "expected a JSON array of 64 numbers"),
        (json.dumps([256] * 64), "from 0 to 255"),
        (json.dumps([True] * 64), "from 0 to 255"),
        (json.dumps([1] * 64), "not the public key of the first 32"),
    ],
)
def test_what_is_no_key_file_is_named(tmp_path, text, says):
    path = tmp_path / "id.json"
    path.write_text(text)
    with pytest.raises(KeyFileError) as caught:
        keys.read_keypair(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(KeyFileError, match="pouw keys new"):
        keys.read_keypair(tmp_path / "none.json")


def test_a_readable_secret_is_warned_about(tmp_path):
    path = tmp_path / "id.json"
    keys.write_keypair(path, Keypair())
    said: list[str] = []
    keys.read_keypair(path, said.append)
    assert said == []
    path.chmod(0o644)
    keys.read_keypair(path, said.append)
    assert len(said) == 1
    assert "0644" in said[0]


def test_a_bls_key_comes_back(tmp_path):
    path = tmp_path / "bls.json"
    keys.write_bls_key(path, bytes(range(32)), bytes(48))
    assert keys.read_bls_secret(path) == bytes(range(32))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="not a Solana key file"):
        keys.read_keypair(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "is not a BLS key file"),
        ('{"scheme": "AUG", "secret": "00", "public": ""}', "scheme 'AUG'"),
        (json.dumps({"scheme": keys.BLS_SCHEME, "secret": "00"}), "has 1 bytes, expected 32"),
        (json.dumps({"scheme": keys.BLS_SCHEME, "secret": "zz"}), "is not a BLS key file"),
    ],
)
def test_what_is_no_bls_key_is_named(tmp_path, text, says):
    path = tmp_path / "bls.json"
    path.write_text(text)
    with pytest.raises(KeyFileError) as caught:
        keys.read_bls_secret(path)
    assert says in str(caught.value)


SOLANA_WROTE = """---
json_rpc_url: http://127.0.0.1:9999
websocket_url: ''
keypair_path: /home/x/my keys/id.json
address_labels:
  '11111111111111111111111111111111': System Program
commitment: confirmed
"""


def test_solanas_own_configuration_is_read(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text(SOLANA_WROTE)
    config = keys.read_solana_config(path)
    assert config.json_rpc_url == "http://127.0.0.1:9999"
    assert str(config.keypair_path) == "/home/x/my keys/id.json"
    assert keys.read_solana_config(tmp_path / "none.yml") == keys.SolanaConfig()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("json_rpc_url http://x\n", "line 1: expected `key: value`"),
        ("  json_rpc_url: http://x\n", "line 1: indented"),
        ("a: 1\nkeypair_path: |\n", "line 2: only plain and quoted"),
        ("keypair_path: 'a\n", "line 1: quoting"),
        ("keypair_path: &id x\n", "line 1: only plain"),
    ],
)
def test_yaml_beyond_flat_pairs_is_refused_by_line(tmp_path, text, says):
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(KeyFileError) as caught:
        keys.read_solana_config(path)
    assert says in str(caught.value)


def test_quotes_and_comments(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text('# mine\njson_rpc_url: "https://a.b/#x" \nkeypair_path: ~/k.json # the usual\n')
    config = keys.read_solana_config(path)
    assert config.json_rpc_url == "https://a.b/#x"
    assert config.keypair_path is not None
    assert config.keypair_path.name == "k.json"
    assert config.keypair_path.is_absolute()


@pytest.mark.parametrize("given", ["localhost", "l"])
def test_monikers(given):
    assert keys.resolve_url(given) == "http://127.0.0.1:8899"


def test_an_unknown_moniker_is_refused():
    assert keys.resolve_url("https://x.y") == "https://x.y"
    with pytest.raises(KeyFileError, match="neither a URL"):
        keys.resolve_url("mainnet")
