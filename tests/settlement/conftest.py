"""A shared machine stalls now and then: time limits per hypothesis example would fail for nothing."""

from hypothesis import settings

settings.register_profile("settlement", deadline=None)
settings.load_profile("settlement")
