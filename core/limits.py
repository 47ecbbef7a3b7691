"""How much a model takes and gives: the first that knows, for the window and for the longest answer each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from core.settings import Settings
from core.settings.upstreams import NO_LIMITS, GlmModel, Limits

#: Models known by name (docs.z.ai, read 2026-11-20).
BUILT_IN: Final = {
    "glm-4.6": Limits(200_000, 131_072),
    "glm-4.5": Limits(128_000, 98_304),
    "glm-4.5v": Limits(65_536, 16_384),
}


def first_known(found: Iterable[Limits]) -> Limits:
    """The first window and the first longest answer that are known."""
    window = answer = None
    for one in found:
        window = one.max_input_tokens if window is None else window
        answer = one.max_tokens if answer is None else answer
    return Limits(window, answer)


def smallest(found: Iterable[Limits]) -> Limits:
    """What every one of several models takes and gives, as far as it is known."""
    several = list(found)
    windows = [one.max_input_tokens for one in several if one.max_input_tokens is not None]
    answers = [one.max_tokens for one in several if one.max_tokens is not None]
    return Limits(min(windows, default=None), min(answers, default=None))


def glm_limits(model: str, entry: GlmModel | None, *, images: bool, settings: Settings) -> Limits:
    """Of a GLM server's ``model``. ``entry``: the one of ``config.yaml`` it comes from; ``images``: the request sent upstream has some."""
    name = "real_vision_model_tokens" if images else "real_text_model_tokens"
    real = Limits(settings.real_vision_model_tokens if images else settings.real_text_model_tokens)
    return first_known(
        (
            NO_LIMITS if entry is None else _given(entry.id, settings),
            _given(model, settings),
            NO_LIMITS if entry is None or images else Limits(entry.real_text_model_tokens),
            real if name in settings.explicit else NO_LIMITS,
            BUILT_IN.get(model, NO_LIMITS),
            real,
        )
    )


def provider_limits(names: Iterable[str], own: Limits, settings: Settings) -> Limits:
    """Of a provider's model. ``names``: what it is called here and there; ``own``: what its entry says."""
    return first_known((*(_given(name, settings) for name in names), own))


def _given(model: str, settings: Settings) -> Limits:
    return settings.model_limits_json.get(model, NO_LIMITS)
