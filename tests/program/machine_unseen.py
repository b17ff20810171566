"""Errors of the program that the machine does not see, each with the reason."""

from __future__ import annotations

NEVER_SEEN: dict[str, str] = {
    "BrokenInvariant": "stands behind checks of its own; it is what a bug would meet",
    "UnknownAccountVersion": "takes an account that another version of the program wrote",
    "UnusableMessage": "no message is known that hashes to infinity",
    "WrongHintCandidate": "needs a message whose field element is zero; tested natively",
    "VaultBelowRent": "a vault holds all that it owes, which is what the machine checks; tested with a vault that was robbed",
}
"""No transaction reaches them from a state that the program made."""

SELDOM_SEEN: dict[str, str] = {
    "RegistryFull": "takes 256 registrations: one episode in twenty, and a newcomer who names nobody to outbid",
    "OutbidTooLow": "takes a full registry",
    "SetTooSmall": "takes more than 71 validators, and a set that was not grown",
    "AuthorityRegistered": "takes an authority of a validator with a slot who proves another key",
    "BadMinValidatorStake": "one of 24 ways in which proposed parameters may be wrong",
    "BadGenesisHash": "initialize succeeds once an episode, and is then refused for that",
    "WrongSigner": "takes a demand of the one record whose authorisation is somebody else's, answered in time",
    "TooManyVoids": "takes eight rejections, a live epoch below each, and nothing final meanwhile",
    "AuthorisationExpired": "takes a demand of the one record whose authorisation is old, answered in time",
    "BadResultHold": "one of 24 ways in which proposed parameters may be wrong",
    "NotLowestStake": "takes a full registry, and somebody named to be outbid who is not the lowest",
    "WitnessIncomplete": "takes evidence of a step whose records touch what the first of them did not",
}
"""Reached by the machine, but not by every long run."""
