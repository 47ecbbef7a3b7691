"""Hypothesis profiles. ``HYPOTHESIS_PROFILE`` chooses: ``fast`` (the default), ``ci``, ``nightly``."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("fast", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
