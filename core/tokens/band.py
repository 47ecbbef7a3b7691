"""How far a count may fall short of a model's own: the margin that decisions about what fits have to leave.

A request that was counted to fit, and does not, costs an agent its turn; one that was held back needlessly costs it its memory. Between
the two the margin is what was measured and no guess: per family of models, the largest share by which a tokeniser made more tokens of
any request of the corpus than the proxy counted. ``docs/tokens.md`` has the numbers behind it.

The numbers are written by ``python -m benchmarks.token_error --write``.
"""

from __future__ import annotations

from typing import Final

# measured: begin
BANDS: Final[dict[str, float]] = {
    "claude": 0.39,
    "codestral": 0.64,
    "deepseek": 0.24,
    "devstral": 0.64,
    "gpt-4.1": 0.27,
    "gpt-4o": 0.27,
    "gpt-5": 0.27,
    "magistral": 0.64,
    "mistral": 0.64,
    "mixtral": 0.64,
    "qwen": 0.63,
    "qwq": 0.63,
}
BAND: Final = 0.27  # of DeepSeek V3, o200k_base
ESTIMATE_BAND: Final = 2.00  # of estimates, whatever the model
# measured: end


def band_for(model: str) -> float:
    """The margin for ``model``, as a share of the count: what costs ``n`` here costs at most ``n x (1 + band)`` there.

    A model is known by its family's word anywhere in its name; of all others (GLM's among them, whose tokeniser could not be measured)
    is supposed that they keep up to three digits together, as cl100k_base, DeepSeek and OpenAI do, and not every digit for itself.
    """
    lowered = model.lower()
    return next((band for word, band in BANDS.items() if word in lowered), BAND)
