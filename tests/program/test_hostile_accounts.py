"""For every instruction: all that hostile_kit changes about a valid call is refused, and with the error that is meant for it
(hostile_refusals), except what hostile_accepted says and why.

`./run python -m tests.program.hostile_table` prints what was tried: instructions by classes.
"""

from __future__ import annotations

import pytest

from settlement import idl
from tests.program import hostile_refusals
from tests.program.hostile_accepted import ACCEPTED, EVERYWHERE
from tests.program.hostile_kit import CLASSES, Mutation, Outcome, Story
from tests.program.hostile_stories import STORIES
from tests.program.kit import instruction_name

Found = list[Outcome]
# Of accounts that are made again over what stands there, Anchor compares the length.
SIZED = {("position", hostile_refusals.SPACE), ("claim", hostile_refusals.SPACE)}


def test_every_instruction_has_a_story() -> None:
    for name in idl.committed().instruction_names:
        assert name in STORIES, f"{name} has no story in hostile_stories.STORIES"
    assert set(STORIES) == set(idl.committed().instruction_names)


@pytest.fixture(scope="module", params=list(STORIES))
def told(request: pytest.FixtureRequest) -> tuple[Story, Found]:
    """A story, of which the valid call is accepted before and after, and what became of each mutation."""
    story = Story.of(request.param)
    assert instruction_name(story.built) == story.name
    return story, story.outcomes()


def test_what_is_accepted_has_a_reason(told: tuple[Story, Found]) -> None:
    story, found = told
    without_reason = [
        f"{outcome.mutation.attack}: {outcome.mutation.what}"
        for outcome in found
        if outcome.refused_with is None
        and outcome.mutation.attack not in EVERYWHERE
        and _key(story, outcome.mutation) not in ACCEPTED
    ]
    assert not without_reason, f"{story.name} accepted {'; '.join(without_reason)}"


def test_no_reason_is_stale(told: tuple[Story, Found]) -> None:
    story, found = told
    accepted = {_key(story, outcome.mutation) for outcome in found if outcome.refused_with is None}
    given = {key for key in ACCEPTED if key[0] == story.name}
    assert given <= accepted, f"refused by now: {given - accepted}"
    for outcome in found:
        if outcome.mutation.attack in EVERYWHERE:
            held = outcome.mutation.account, outcome.refused_with
            assert outcome.refused_with is None or held in SIZED, f"{outcome.mutation.what}: {held}"


def test_each_refusal_is_the_one_that_is_meant(told: tuple[Story, Found]) -> None:
    """A check of ours is not passed over because another account was wrong before."""
    story, found = told
    known = {spec.name for spec in idl.committed().errors.values()}
    for outcome in found:
        attack, account, refused = outcome.mutation.attack, outcome.mutation.account, outcome.refused_with
        if refused is None or attack in EVERYWHERE:
            continue
        what = f"{story.name}, {attack}: {outcome.mutation.what}: {refused}"
        if refused in known:
            assert refused == hostile_refusals.ours(story.name, attack, account), what
        else:
            assert refused in hostile_refusals.BY_CLASS[attack], what


def test_every_account_is_attacked(told: tuple[Story, Found]) -> None:
    """So that a story whose accounts are not what they should be does not pass by trying nothing."""
    story, found = told
    tried = {(outcome.mutation.attack, outcome.mutation.account) for outcome in found}
    for spec, meta in zip(story.specs, story.built.accounts, strict=True):
        if spec.signer:
            assert {("unsigned", spec.name), ("stranger", spec.name)} <= tried
        if meta.pubkey != story.chain.program_id and spec.writable:
            assert ("read-only", spec.name) in tried
        if story.held(meta.pubkey) is not None:
            for attack in ("owner", "type", "short", "closed", "revived"):
                assert (attack, spec.name) in tried
        assert ("missing", spec.name) in tried
    assert {attack for attack, _ in tried} <= set(CLASSES)


def test_refusals_leave_the_chain_as_it_was(told: tuple[Story, Found]) -> None:
    """Sent and not only simulated: one mutation of each class, for everything that the instruction names."""
    story, found = told
    svm, program = story.chain.svm, story.chain.program_id
    named = sorted(story.addresses - {program}, key=str)
    before = [svm.get_account(address) for address in named]
    sent: set[str] = set()
    for outcome in found:
        mutation = outcome.mutation
        if outcome.refused_with is not None and not mutation.place and mutation.attack not in sent:
            sent.add(mutation.attack)
            story.send_refused(mutation)
    assert "unsigned" in sent and "data" in sent and "missing" in sent
    assert [svm.get_account(address) for address in named] == before


def _key(story: Story, mutation: Mutation) -> tuple[str, str, str]:
    return story.name, mutation.attack, mutation.account
