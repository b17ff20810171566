import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.validator_set import SetEntry, ValidatorSet, bitmap_to_bytes, bytes_to_bitmap
from tests.settlement import kit
from tests.settlement.naive import le, tagged


def test_the_set_hash_is_as_the_protocol_says() -> None:
    validators = kit.validator_set(5, 6, version=4)
    entries = b"".join(e.authority + e.bls_uncompressed + le(e.stake_lamports) for e in validators.entries)
    assert len(entries) == 2 * 136
    expected = tagged("validator-set", kit.DOMAIN.genesis, kit.DOMAIN.program, le(4), le(2, 4), entries)
    assert validators.hash(kit.DOMAIN) == expected
    assert SetEntry.decode(entries[:136]) == validators.entries[0]


@pytest.mark.parametrize(
    ("stakes", "bitmap", "quorum"),
    [
        ((1, 1, 1), 0b011, True),
        ((1, 1, 1), 0b001, False),
        ((1, 1, 1), 0, False),
        ((2**63, 2**62, 2**62 - 1), 0b011, True),
        ((2**53, 1, 2**54 + 1), 0b100, False),
        ((2**53, 1, 2**54 + 2), 0b100, True),
        ((1, 0), 0b10, False),
    ],
)
def test_a_quorum_is_two_thirds_of_the_stake_in_integers(stakes: tuple[int, ...], bitmap: int, quorum: bool) -> None:
    # In floats both sides of the two cases around 2**54 would be equal.
    assert kit.validator_set(*stakes).is_quorum(bitmap) is quorum


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.data())
def test_stake_and_indices_of_a_bitmap(stakes: list[int], data: st.DataObject) -> None:
    validators = kit.validator_set(*stakes)
    signers = data.draw(st.sets(st.integers(0, len(stakes) - 1)))
    bitmap = sum(1 << i for i in signers)
    assert list(validators.indices(bitmap)) == sorted(signers)
    assert validators.stake_of(bitmap) == sum(stakes[i] for i in signers)
    assert bytes_to_bitmap(bitmap_to_bytes(bitmap)) == bitmap


def test_a_bit_beyond_the_set_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the set of 3"):
        kit.validator_set(1, 1, 1).stake_of(0b1000)


def test_bit_i_is_in_byte_i_div_8_least_significant_first() -> None:
    assert bitmap_to_bytes(1 << 9) == bytes([0, 2]) + bytes(30)
    with pytest.raises(ValueError, match="256 bits"):
        bitmap_to_bytes(1 << 256)
    with pytest.raises(ValueError, match="32 bytes"):
        bytes_to_bitmap(bytes(31))


def test_a_set_is_checked_when_it_is_made() -> None:
    one, two = kit.validator_set(1, 1).entries
    with pytest.raises(ValueError, match="1 to 256 entries, got 0"):
        ValidatorSet(1, ())
    with pytest.raises(ValueError, match="authority stands in the validator set twice"):
        ValidatorSet(1, (one, SetEntry(one.authority, two.bls_uncompressed, 1)))
    with pytest.raises(ValueError, match="BLS key stands in the validator set twice"):
        ValidatorSet(1, (one, SetEntry(two.authority, one.bls_uncompressed, 1)))
    with pytest.raises(ValueError, match="total stake"):
        kit.validator_set(0, 0)
    with pytest.raises(ValueError, match="total stake"):
        kit.validator_set(2**63, 2**63)


def test_the_index_of_an_authority() -> None:
    validators = kit.validator_set(1, 1)
    assert validators.index_of(kit.public_key("authority 1")) == 1
    assert validators.index_of(kit.public_key("somebody")) is None
