"""Hypothesis profiles. ``HYPOTHESIS_PROFILE`` chooses: ``fast`` (the default), ``ci``, ``nightly``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadlines and no complaint of slowness: how long an example takes says more about the machine than about the code.
for name, examples, derandomized in (("fast", 50, False), ("ci", 200, True), ("nightly", 10_000, False)):
    settings.register_profile(
        name, max_examples=examples, derandomize=derandomized, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
