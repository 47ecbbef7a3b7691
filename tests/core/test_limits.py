"""How much a model takes and gives: the first that knows, for the window and the longest answer each."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialects import Protocol
from core.limits import first_known, smallest
from core.routing import Router
from core.settings import Settings
from core.settings.upstreams import Bases, GlmModel, Limits, Model, Provider

CHAT = Protocol.OPENAI
TEXT, VISION = frozenset({"real_text_model_tokens"}), frozenset({"real_vision_model_tokens"})


def limits(model: str, *, images: bool = False, **settings: Any) -> tuple[int | None, int | None]:
    target = Router(Settings(**settings)).route(model, images=images, wire=CHAT)[0]
    assert target.vision is images
    return target.limits.max_input_tokens, target.limits.max_tokens


GIVEN = {"glm-4.6": Limits(1, 2), "glm-4.5v": Limits(3, None), "quick": Limits(None, 4), "glm-q": Limits(5, 6), "r": Limits(7, None)}


@pytest.mark.parametrize(
    ("model", "images", "settings", "expected"),
    [
        pytest.param("glm-4.6", False, {}, (200_000, 131_072), id="built in"),
        pytest.param("glm-4.5", False, {}, (128_000, 98_304), id="built in"),
        pytest.param("glm-4.5v", True, {}, (65_536, 16_384), id="built in, with pictures"),
        pytest.param("glm-4.6-openai", False, {}, (200_000, 131_072), id="a suffix is no part of the name"),
        pytest.param("glm-4.6", True, {}, (65_536, 16_384), id="of the model that is really asked"),
        pytest.param("glm-4.5v", False, {}, (200_000, 131_072), id="likewise"),
        pytest.param("other", False, {}, (200_000, None), id="REAL_TEXT_MODEL_TOKENS's default"),
        pytest.param("glm-4.6v-flash", True, {}, (65_536, None), id="REAL_VISION_MODEL_TOKENS's default"),
        pytest.param("glm-4.6v-flash", False, {}, (200_000, None), id="the vision window is for pictures only"),
        pytest.param("glm-4.6", False, {"real_text_model_tokens": 9, "explicit": TEXT}, (9, 131_072), id="a real window that was set"),
        pytest.param("glm-4.6", True, {"real_text_model_tokens": 9, "explicit": TEXT}, (65_536, 16_384), id="of text, not of pictures"),
        pytest.param("glm-4.6", True, {"real_vision_model_tokens": 9, "explicit": VISION}, (9, 16_384), id="of pictures"),
        pytest.param("glm-4.6", False, {"real_vision_model_tokens": 9, "explicit": VISION}, (200_000, 131_072), id="not of text"),
        pytest.param("glm-4.6", False, {"real_text_model_tokens": 9}, (200_000, 131_072), id="one that nobody set comes after the known"),
        pytest.param("other", False, {"real_text_model_tokens": 9}, (9, None), id="and before nothing"),
        pytest.param("glm-4.6", False, {"model_limits_json": GIVEN, "explicit": TEXT}, (1, 2), id="given limits are the first"),
        pytest.param("glm-4.6", True, {"model_limits_json": GIVEN}, (3, 16_384), id="given in part"),
        pytest.param("glm-4.6-anthropic", False, {"model_limits_json": GIVEN}, (1, 2), id="given, asked for with a suffix"),
        pytest.param("alias", False, {"model_limits_json": GIVEN, "model_map_json": {"alias": "glm-4.6"}}, (1, 2), id="given, by an alias"),
        pytest.param("x", True, {"autotext_model": "x", "autovision_model": "x"}, (65_536, None), id="one model for both, with pictures"),
        pytest.param("x", False, {"autotext_model": "x", "autovision_model": "x"}, (200_000, None), id="one model for both, without"),
    ],
)
def test_of_a_glm_model(model: str, images: bool, settings: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    assert limits(model, images=images, **settings) == expected


@pytest.mark.parametrize(
    ("model", "images", "settings", "expected"),
    [
        pytest.param("quick", False, {}, (1000, None), id="its entry's window"),
        pytest.param("quick", False, {"real_text_model_tokens": 9, "explicit": TEXT}, (1000, None), id="before everyone's"),
        pytest.param("quick", False, {"model_limits_json": GIVEN}, (5, 4), id="after what is given, by either name"),
        pytest.param("eyes", True, {}, (65_536, None), id="a window for text is none for pictures"),
        pytest.param("plain", False, {}, (128_000, 98_304), id="without one, that of the model it stands for"),
    ],
)
def test_of_a_further_glm_model(model: str, images: bool, settings: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    further = (
        GlmModel("quick", "", "glm-q", real_text_model_tokens=1000),
        GlmModel("eyes", "", "glm-4.6v", real_text_model_tokens=1000),
        GlmModel("plain", "", "glm-4.5"),
    )
    assert limits(model, images=images, models=further, **settings) == expected


@pytest.mark.parametrize(
    ("model", "images", "settings", "expected"),
    [
        pytest.param("m", False, {}, (100, 10), id="its entry's"),
        pytest.param("m", True, {}, (100, 10), id="with pictures too"),
        pytest.param("n", False, {}, (None, None), id="none is none"),
        pytest.param("n", False, {"real_text_model_tokens": 9, "explicit": TEXT}, (None, None), id="the GLM server's are none of it"),
        pytest.param("n", False, {"model_limits_json": GIVEN}, (7, None), id="given by its remote id"),
        pytest.param("n", False, {"model_limits_json": {**GIVEN, "n": Limits(8, None)}}, (8, None), id="given by its id"),
        pytest.param("glm-4.6", False, {}, (None, None), id="a known name elsewhere is another model"),
        pytest.param("blind", False, {}, (50, None), id="of the model itself"),
        pytest.param("blind", True, {}, (100, 10), id="of the one that sees for it"),
    ],
)
def test_of_a_providers_model(model: str, images: bool, settings: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    models = (
        Model("m", "m", "m", Limits(100, 10)),
        Model("n", "r", "n"),
        Model("glm-4.6", "x", "x"),
        Model("blind", "b", "b", Limits(50), vision=False, vision_model="m"),
    )
    assert limits(model, images=images, providers=(Provider("p", Bases(openai="https://p"), models, "k"),), **settings) == expected


def test_of_several_the_first_that_knows_and_the_smallest() -> None:
    several = [Limits(None, 5), Limits(30, None), Limits(20, 9)]
    assert first_known(several) == Limits(30, 5)
    assert smallest(several) == Limits(20, 5)
    assert first_known([]) == smallest([]) == Limits()
