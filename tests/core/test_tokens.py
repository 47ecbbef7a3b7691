"""core.tokens: the packaged vocabulary, exact counts, the table of fixed costs, odd request shapes, and the estimate."""

from __future__ import annotations

import hashlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from benchmarks.pack_vocabulary import main as pack_main
from benchmarks.pack_vocabulary import pack, to_text
from core.errors import BadRequest
from core.tokens import (
    ENCODINGS,
    PIECE,
    SLACK,
    Counter,
    Encoder,
    Images,
    encoder_of,
    estimate_body,
    estimate_payload,
    estimate_text,
    packaged,
    pieces,
    unpack,
    vocabulary,
)

PACKED = resources.files("core.vocabulary").joinpath("cl100k_base.xz").read_bytes()
TEXT_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
#: tiktoken looks a vocabulary up under the digest of the address it would download it from.
ORIGIN = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"

#: One for the module: loading the vocabulary takes a while.
COUNTER = Counter()
COUNT = COUNTER.text
BASE64 = "iVBORw0KGgo" * 20_000


def payload(**members: object) -> bytes:
    return json.dumps(members).encode()


def content(*blocks: object) -> int:
    """What the blocks of one user message cost beside the message itself."""
    with_blocks = COUNTER.payload(payload(messages=[{"role": "user", "content": list(blocks)}]))
    return with_blocks - COUNT("user") - 4


# ------------------------------------------------------------------------------------------------------- vocabulary


def test_the_packed_vocabulary_gives_back_the_published_file_byte_for_byte() -> None:
    assert hashlib.sha256(to_text(PACKED)).hexdigest() == TEXT_SHA256


def test_packing_the_published_file_gives_the_packaged_one_and_back(tmp_path: Path) -> None:
    text, packed, again = tmp_path / "text", tmp_path / "packed", tmp_path / "again"
    text.write_bytes(b"".join(to_text(PACKED).splitlines(keepends=True)[:5000]))  # all of it takes xz a second
    assert pack_main(["pack", str(text), str(packed)]) == 0
    assert pack_main(["unpack", str(packed), str(again)]) == 0
    assert again.read_bytes() == text.read_bytes()
    assert unpack(packed.read_bytes()).items() <= unpack(PACKED).items()


def test_packing_refuses_ranks_that_do_not_count_from_zero() -> None:
    with pytest.raises(ValueError, match="line 2: found rank 2, expected 1"):
        pack(b"IQ== 0\nIg== 2\n")


def test_packing_refuses_an_empty_token() -> None:
    with pytest.raises(ValueError, match="empty token"):
        pack(b"IQ== 0\n= 1\n")


def test_the_packing_script_explains_itself_on_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert pack_main(["pack"]) == 2
    assert "pack|unpack" in capsys.readouterr().err


def test_the_encoding_equals_the_one_tiktoken_itself_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath(hashlib.sha1(ORIGIN.encode()).hexdigest()).write_bytes(to_text(PACKED))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    reference = tiktoken.get_encoding("cl100k_base")
    assert reference._pat_str == ENCODINGS["cl100k_base"]
    assert reference._mergeable_ranks == unpack(PACKED)
    sample = "def naïve(数据): return 'it\\'s 12345'\n\n\n    # 🙂 …\t\tend   "
    assert COUNT(sample) == len(reference.encode_ordinary(sample))


def test_the_pattern_of_a_vocabulary_that_is_not_packaged_is_the_one_of_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_args, **_more: {})  # which would download it
    assert openai_public.o200k_base()["pat_str"] == ENCODINGS["o200k_base"]


def test_an_encoding_that_is_not_packaged_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown encoding 'o200k_base', expected one of cl100k_base"):
        packaged("o200k_base")


BYTES = {bytes((byte,)): byte for byte in range(256)}


def test_any_ranks_make_an_encoder_and_an_unknown_name_is_split_like_the_default_one() -> None:
    ranks = BYTES | {b"ab": 256, b"abc": 257, b"12": 258, b"123": 259}
    assert encoder_of("mine", ranks).name == "mine"
    assert encoder_of("mine", ranks).count("abc abd<|endoftext|>") == 1 + 1 + 2 + len("<|endoftext|>")
    assert encoder_of("mine", ranks).count("123123") == 2


def test_ranks_that_could_not_write_every_text_are_refused() -> None:
    with pytest.raises(ValueError, match="without 2 of the 256 single bytes"):
        encoder_of("mine", {token: rank for token, rank in BYTES.items() if token not in (b"a", b"b")})


def test_a_counter_counts_with_the_encoder_it_is_given_and_has_its_name() -> None:
    counter = Counter(Encoder("words", lambda text: len(text.split())))
    assert (counter.name, counter.text("one two three"), Counter().name) == ("words", 3, "cl100k_base")
    assert counter.text("word " * 1000) == 1000


def test_a_counter_without_a_vocabulary_estimates_and_remembers_nothing() -> None:
    counter = Counter(None)
    body = payload(system="x" * 5000, messages="数据" * 500)
    assert (counter.name, counter.text("ab数"), counter.payload(body)) == ("estimate", 3, estimate_payload(body))
    assert not counter._young


def test_a_counter_is_ready_when_the_next_count_loads_nothing() -> None:
    counter = Counter()
    assert (counter.ready, Counter(None).ready) == (False, True)
    counter.payload(b"{}")
    assert counter.ready


def test_counts_that_begin_together_load_the_vocabulary_once() -> None:
    vocabulary._loaded.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(COUNT, ["hello world"] * 32)) == {2}
    assert vocabulary._loaded.cache_info().misses == 1


# ------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),
        ("お誕生日おめでとう", 9),
        ("\n\n\n", 1),
        ("   ", 1),
        ("antidisestablishmentarianism", 6),
    ],
)
def test_known_texts_have_their_published_counts(text: str, count: int) -> None:
    assert COUNT(text) == count


def test_special_tokens_in_a_text_are_plain_text() -> None:
    assert COUNT("<|endoftext|>") > 1


def test_a_lone_surrogate_counts_as_the_replacement_character() -> None:
    assert COUNT("a\ud83d b") == COUNT("a\ufffd b")
    long = "word \udc00" * 200
    assert COUNT(long) == COUNT(long.replace("\udc00", "\ufffd"))


@given(st.text())
def test_a_token_covers_at_least_one_byte(text: str) -> None:
    assert (1 if text else 0) <= COUNT(text) <= len(text.encode("utf-8", "replace"))


@given(st.text(), st.text())
def test_texts_joined_at_a_line_end_cost_the_sum_of_their_tokens(first: str, second: str) -> None:
    first, second = first + "\n", "x" + second
    assert COUNT(first + second) == COUNT(first) + COUNT(second)


def test_a_cached_count_equals_the_first_one() -> None:
    counter = Counter(cache_size=2)
    texts = [f"{number} " * 300 for number in range(5)]
    fresh = [Counter(cache_size=0).text(text) for text in texts]
    assert [counter.text(text) for text in texts * 2 + texts[::-1]] == fresh * 2 + fresh[::-1]


def test_the_texts_counted_last_are_remembered_and_older_ones_forgotten() -> None:
    counter = Counter(cache_size=3)
    for number in range(100):
        counter.text(f"{number} " * 300)
    assert 3 <= len(counter._young) + len(counter._old) <= 6
    again = "99 " * 300
    before = dict(counter._young)
    counter.text(again)
    assert counter._young == before


@pytest.mark.parametrize("text", ["older " * 100, "newer " * 100])
def test_what_is_remembered_is_not_counted_again(text: str) -> None:
    counter = Counter(cache_size=1)
    for counted in ("older " * 100, "newer " * 100):
        counter.text(counted)
    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
    for generation in (counter._old, counter._young):
        generation.update(dict.fromkeys(generation.keys() & {key}, 7))  # no text here has this count
    assert counter.text(text) == 7


def test_a_counter_without_a_cache_remembers_nothing() -> None:
    counter = Counter(cache_size=0)
    counter.text("first " * 100)
    assert not counter._young


def test_a_text_in_use_survives_others_that_come_and_go() -> None:
    counter = Counter(cache_size=3)
    kept = "kept " * 100
    key = hashlib.blake2b(kept.encode(), digest_size=16).digest()
    for number in range(20):
        counter.text(kept)
        counter.text(f"{number} " * 300)
        assert key in counter._young or key in counter._old


def test_short_texts_do_not_take_room_in_the_cache() -> None:
    counter = Counter()
    counter.text("x" * 255)
    assert not counter._young
    counter.text("x" * 256)
    assert len(counter._young) == 1


# ----------------------------------------------------------------------------------------------------------- pieces


@given(st.text(alphabet=st.sampled_from("ab1 \n\t'.é数\x1c\u00a0")), st.integers(1, 9), st.integers(1, 9))
@example("a b\nc" * 20, 3, 2)
def test_pieces_are_bounded_and_lose_nothing(text: str, size: int, slack: int) -> None:
    cut = list(pieces(text, size, slack))
    assert "".join(cut) == text
    assert all(size <= len(piece) <= size + slack for piece in cut[:-1])
    assert len(cut[-1]) <= size + slack


@given(st.lists(st.sampled_from(["word", " word", "12345", "!!", "\n", "    ", "\t", "é数", "it's", " \n", "\r\n", "\u00a0"])))
@example([" word", "\n", "    ", " word", "\r\n"] * 30)
def test_cutting_changes_no_count_where_there_is_a_seam(parts: list[str]) -> None:
    text = "".join(part + " x\ny" for part in parts)  # a seam after every part, so no cut has to be a hard one
    assert sum(map(COUNT, pieces(text, 4, 40))) == COUNT(text)


@pytest.mark.parametrize("unit", [" ", "\n", "\t", "a", "-", "9", "数", "🙂", "\u00a0", "\x00"])
def test_long_runs_of_one_character_reach_tiktoken_in_bounded_pieces(unit: str) -> None:
    text = unit * 1_200_000
    cut = list(pieces(text))
    assert len(cut) == math.ceil(len(text) / (PIECE + SLACK))
    assert max(map(len, cut)) <= PIECE + SLACK


def test_a_million_blanks_are_counted_without_a_panic() -> None:
    blanks = COUNT(" " * 1_200_000 + "x")  # as one piece, the step back before the x overflows tiktoken's stack
    assert 1_200_000 / 128 <= blanks <= 1_200_000 / 60  # the longest token of blanks has 128 of them


def test_a_line_end_before_a_slash_is_no_place_to_cut_for_o200k_base_joins_them() -> None:
    encoder = encoder_of("o200k_base", BYTES | {b"!\n": 256, b"!\n/": 257})
    text = "a!\n/b c"
    assert sum(map(encoder.count, pieces(text, 2, 3))) == encoder.count(text) == 5


def test_a_long_text_with_seams_is_counted_exactly() -> None:
    line = "def f(x):\n    return x + 1  # it's 12345\n"
    assert COUNT(line * 5000) == COUNT(line) * 5000


# ------------------------------------------------------------------------------------------- the table of fixed costs


def test_a_message_costs_its_role_its_text_and_four() -> None:
    assert COUNTER.payload(payload(messages=[{"role": "assistant", "content": "hello world"}])) == COUNT("assistant") + 4 + 2


def test_a_named_message_costs_its_name_and_two_more() -> None:
    plain = {"role": "user", "content": "hello world"}
    assert COUNTER.payload(payload(messages=[plain | {"name": "Ada"}])) == COUNTER.payload(payload(messages=[plain])) + COUNT("Ada") + 2


@pytest.mark.parametrize(
    "system", ["be brief", [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}], ["be brief"]]
)
def test_a_system_prompt_costs_its_text_and_ten(system: object) -> None:
    assert COUNTER.payload(payload(system=system)) == COUNT("be brief") + 10


def test_a_tool_definition_costs_name_description_and_compact_schema_and_twenty() -> None:
    tool = {"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
    text = 'ReadReads a file.{"type":"object","properties":{"path":{"type":"string"}}}'
    assert COUNTER.payload(payload(tools=[tool])) == COUNT(text) + 20
    assert COUNTER.payload(payload(tools=[tool, tool])) == 2 * (COUNT(text) + 20)


def test_a_tool_without_description_or_name_is_counted_by_the_rest() -> None:
    assert COUNTER.payload(payload(tools=[{"name": "f", "input_schema": {}}])) == COUNT("f{}") + 20
    assert COUNTER.payload(payload(tools=[{"description": "d", "input_schema": {}}])) == COUNT("d{}") + 20


def test_a_tool_that_the_upstream_runs_costs_its_declaration() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    assert COUNTER.payload(payload(tools=[tool])) == COUNT('{"type":"web_search_20250305","name":"web_search","max_uses":5}') + 20


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}

BLOCKS: list[tuple[str, object, int]] = [
    ("text", {"type": "text", "text": "hello world"}, 2),
    ("empty text", {"type": "text", "text": ""}, 0),
    ("blank text", {"type": "text", "text": " \n\t "}, 0),
    ("text of a wrong type", {"type": "text", "text": 5}, 0),
    ("image", PICTURE, 85),
    ("image by address", {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}, 85),
    ("image of the chat wire", {"type": "image_url", "image_url": {"url": "data:image/png;base64," + BASE64}}, 85),
    ("thinking", {"type": "thinking", "thinking": "hello world", "signature": BASE64}, 2),
    ("redacted thinking", {"type": "redacted_thinking", "data": BASE64}, 0),
    ("tool call", {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a b"}}, COUNT("Read") + COUNT('{"path":"a b"}') + 20),
    ("tool call without input", {"type": "tool_use", "id": "toolu_1", "name": "Read"}, COUNT("Read") + COUNT("{}") + 20),
    ("server tool call", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, COUNT("web_search") + COUNT("{}") + 20),
    ("MCP tool call", {"type": "mcp_tool_use", "id": "m", "name": "f", "input": {}, "server_name": "s"}, COUNT("f") + COUNT("{}") + 20),
    ("tool result", {"type": "tool_result", "tool_use_id": "toolu_1", "content": "hello world"}, 2 + 4),
    ("tool result in parts", {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "hello world"}, PICTURE]}, 2 + 85 + 4),
    ("tool result without content", {"type": "tool_result", "tool_use_id": "t"}, 4),
    ("MCP tool result", {"type": "mcp_tool_result", "tool_use_id": "t", "content": "hello world"}, 2 + 4),
    ("text document", {"type": "document", "title": "hello", "context": "hello", "source": {"type": "text", "data": "hello world"}}, 4),
    ("document of blocks", {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "hello world"}]}}, 2),
    ("document of one string", {"type": "document", "source": "hello world"}, 2),
    ("long PDF", {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 1024 * 400}}, 10_000),
    ("short PDF", {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 1024}}, 3_000),
    ("document by address", {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}, 3_000),
    ("search result", {"type": "search_result", "title": "hello", "source": "hello", "content": [{"type": "text", "text": "hello world"}]}, 4),
    ("text of OpenAI's newer wire", {"type": "input_text", "text": "hello world"}, 2),
    ("refusal", {"type": "refusal", "refusal": "hello world"}, 2),
    ("sound", {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}, COUNT('{"type":"input_audio","input_audio":{"format":"wav"}}')),
    ("file", {"type": "file", "file": {"filename": "hello", "file_data": "data:application/pdf;base64," + "A" * 1024 * 400}}, 1 + 10_000),
    ("file by id", {"type": "file", "file": {"file_id": "file-1"}}, 3_000),
    ("file of a wrong type", {"type": "file", "file": 5}, COUNT('{"type":"file","file":5}')),
    ("unknown block", {"type": "hologram", "depth": 3}, COUNT('{"type":"hologram","depth":3}')),
    ("block without a type", {"depth": 3}, COUNT('{"depth":3}')),
    ("bare text member", {"text": "hello world"}, 2),
    ("string among blocks", "hello world", 2),
    ("number among blocks", 12, COUNT("12")),
    ("type that is no string", {"type": []}, COUNT('{"type":[]}')),
    (
        "unknown block with base64 and proofs",
        {"type": "x", "source": {"type": "base64", "data": BASE64}, "url": "data:a/b;base64," + BASE64, "in": [{"signature": BASE64, "media_type": "a/b", "data": BASE64}]},
        COUNT('{"type":"x","source":{"type":"base64"},"url":"","in":[{"media_type":"a/b"}]}'),
    ),
    (
        "server tool result with ciphertext",
        {"type": "web_search_tool_result", "content": [{"title": "hello", "encrypted_content": BASE64, "data": "kept"}]},
        COUNT('{"type":"web_search_tool_result","content":[{"title":"hello","data":"kept"}]}'),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "plain", "described"),
    [
        (Images(), 85, 85 + 3),
        (Images(base=10, per_character=1), 10, 19),
        (Images(per_character=0), 85, 85),
        (Images(dynamic=False), 1000, 1000),
    ],
)
def test_a_picture_costs_what_the_settings_say(images: Images, plain: int, described: int) -> None:
    for block, tokens in ((PICTURE, plain), (PICTURE | {"description": "nine char"}, described), (PICTURE | {"description": 5}, plain)):
        body = payload(messages=[{"role": "user", "content": [block]}])
        assert Counter(images=images).payload(body) == COUNT("user") + 4 + tokens
        assert estimate_payload(body, images) == estimate_text("user") + 4 + tokens
    assert images.tokens() == plain
    assert images.tokens("nine char") == described


@pytest.mark.parametrize(("block", "tokens"), [row[1:] for row in BLOCKS], ids=[row[0] for row in BLOCKS])
def test_a_block_costs_what_the_table_says(block: object, tokens: int) -> None:
    assert content(block) == tokens


def test_blocks_add_up() -> None:
    assert content(*(row[1] for row in BLOCKS)) == sum(row[2] for row in BLOCKS)


# ------------------------------------------------------------------------------------------------------ the chat wire


def message(**members: object) -> int:
    """What one message costs."""
    return COUNTER.payload(payload(messages=[members]))


SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
CALL = COUNT("Read") + COUNT('{"path":"a b"}') + 20
SAID = COUNT("assistant") + 4

MESSAGES: list[tuple[str, dict[str, object], int]] = [
    ("system", {"role": "system", "content": "be brief"}, COUNT("be brief") + 10),
    ("developer", {"role": "developer", "content": [{"type": "text", "text": "be brief"}]}, COUNT("be brief") + 10),
    ("named system", {"role": "system", "content": "be brief", "name": "Ada"}, COUNT("be brief") + 10 + COUNT("Ada") + 2),
    ("picture", {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + BASE64}}]}, COUNT("user") + 4 + 85),
    ("tool", {"role": "tool", "tool_call_id": "call_1", "content": "hello world"}, COUNT("tool") + 4 + 2 + 4),
    ("function", {"role": "function", "name": "Read", "content": "hello world"}, COUNT("function") + 4 + 2 + 4 + COUNT("Read") + 2),
    ("reasoning", {"role": "assistant", "content": None, "reasoning_content": "hello world"}, SAID + 2),
    ("reasoning by its other name", {"role": "assistant", "content": "", "reasoning": "hello world"}, SAID + 2),
    ("refusal", {"role": "assistant", "content": None, "refusal": "hello world"}, SAID + 2),
    ("call", {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "Read", "arguments": '{"path":"a b"}'}}]}, SAID + CALL),
    ("call with white space", {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "Read", "arguments": '{ "path" :\n"a b" }'}}], "content": ""}, SAID + CALL),
    ("call with an object", {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "Read", "arguments": {"path": "a b"}}}]}, SAID + CALL),
    ("call without arguments", {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "Read"}}]}, SAID + COUNT("Read") + COUNT("{}") + 20),
    ("call with broken arguments", {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "Read", "arguments": '{"path'}}]}, SAID + COUNT("Read") + COUNT('{"path') + 20),
    ("custom call", {"role": "assistant", "content": "", "tool_calls": [{"type": "custom", "custom": {"name": "Read", "input": "hello world"}}]}, SAID + COUNT("Read") + 2 + 20),
    ("two calls", {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "Read", "arguments": '{"path":"a b"}'}}] * 2}, SAID + 2 * CALL),
    ("call of another shape", {"role": "assistant", "content": "", "tool_calls": [{"name": "Read"}, 5]}, SAID + COUNT('{"name":"Read"}') + 20 + COUNT("5") + 20),
    ("old call", {"role": "assistant", "content": None, "function_call": {"name": "Read", "arguments": '{"path":"a b"}'}}, SAID + CALL),
    ("old call of another shape", {"role": "assistant", "content": None, "function_call": "auto"}, SAID + COUNT('"auto"') + 20),
]  # fmt: skip


@pytest.mark.parametrize(("members", "tokens"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_a_message_of_the_chat_wire_costs_what_the_table_says(members: dict[str, object], tokens: int) -> None:
    assert message(**members) == tokens


READ = "ReadReads a file."
TOOLS: list[tuple[str, str, object, int]] = [
    ("function tool", "tools", {"type": "function", "function": {"name": "Read", "description": "Reads a file.", "parameters": SCHEMA, "strict": True}}, COUNT(READ + json.dumps(SCHEMA, separators=(",", ":"))) + 20),
    ("function tool without parameters", "tools", {"type": "function", "function": {"name": "Read", "description": "Reads a file."}}, COUNT(READ) + 20),
    ("custom tool", "tools", {"type": "custom", "custom": {"name": "Read", "description": "Reads a file.", "format": {"type": "text"}}}, COUNT(READ + '{"type":"text"}') + 20),
    ("old function", "functions", {"name": "Read", "description": "Reads a file.", "parameters": SCHEMA}, COUNT(READ + json.dumps(SCHEMA, separators=(",", ":"))) + 20),
    ("function that is none", "functions", "Read", COUNT('"Read"') + 20),
    ("tool that is none", "tools", "Read", COUNT('"Read"') + 20),
]  # fmt: skip


@pytest.mark.parametrize(("member", "tool", "tokens"), [row[1:] for row in TOOLS], ids=[row[0] for row in TOOLS])
def test_a_definition_of_the_chat_wire_costs_what_the_table_says(member: str, tool: object, tokens: int) -> None:
    assert COUNTER.payload(payload(**{member: [tool, tool]})) == 2 * tokens


def test_a_conversation_costs_the_same_on_both_wires_but_for_the_roles_of_results() -> None:
    said, asked = {"role": "user", "content": "hello world"}, {"path": "a b"}
    messages = payload(
        system="be brief",
        tools=[{"name": "Read", "description": "Reads a file.", "input_schema": SCHEMA}],
        messages=[said, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": asked}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "hello"}]}],
    )  # fmt: skip
    chat = payload(
        tools=[{"type": "function", "function": {"name": "Read", "description": "Reads a file.", "parameters": SCHEMA}}],
        messages=[{"role": "system", "content": "be brief"}, said, {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "type": "function", "function": {"name": "Read", "arguments": json.dumps(asked)}}]}, {"role": "tool", "tool_call_id": "t", "content": "hello"}],
    )  # fmt: skip
    assert COUNTER.payload(chat) - COUNTER.payload(messages) == COUNT("tool") - COUNT("user")


# ------------------------------------------------------------------------------------------------------- odd shapes

HELLO = COUNTER.payload(payload(messages=[{"role": "user", "content": "hello world"}]))


@pytest.mark.parametrize(
    "messages",
    [
        "hello world",
        ["hello world"],
        {"role": "user", "content": "hello world"},
        [{"content": "hello world"}],
        [{"content": {"type": "text", "text": "hello world"}}],
        [{"type": "text", "text": "hello world"}],
        [{"text": "hello world"}],
        [{"message": "hello world"}],
        [{"message": {"role": "user", "content": "hello world"}}],
        [{"role": 7, "content": "hello world"}],
        [{"type": "message", "role": "user", "content": "hello world"}],
        [["hello world"]],
    ],
)
def test_odd_shapes_of_messages_count_like_the_regular_one(messages: object) -> None:
    assert COUNTER.payload(payload(messages=messages)) == HELLO


def test_items_that_are_no_objects_are_user_text() -> None:
    assert COUNTER.payload(payload(messages=[12])) == COUNT("user") + 4 + COUNT("12")


def test_a_bare_text_is_counted_as_text() -> None:
    assert COUNTER.payload(payload(text="hello world")) == 2


def test_only_an_empty_object_counts_zero() -> None:
    assert COUNTER.payload(b"{}") == 0
    assert COUNTER.payload(payload(text=" ")) == 1
    assert COUNTER.payload(payload(messages=[])) == 1


def test_all_parts_of_a_request_add_up() -> None:
    whole = payload(
        system="be brief", tools=[{"name": "f", "input_schema": {}}], messages="hello world", model="m", max_tokens=5, stream=True
    )
    assert COUNTER.payload(whole) == (COUNT("be brief") + 10) + (COUNT("f{}") + 20) + HELLO


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b'"text"', b"null", b'{"a":NaN}', b'{"messages":' + b"[" * 100_000, b'{"a":"\xff"']
)
@pytest.mark.parametrize("count", [COUNTER.payload, estimate_payload])
def test_what_is_no_json_object_is_a_bad_request(body: bytes, count: object) -> None:
    assert callable(count)
    with pytest.raises(BadRequest) as caught:
        count(body)
    assert caught.value.code == "invalid_json"


def test_deep_but_legal_nesting_is_counted_or_refused_but_never_a_crash() -> None:
    deep: object = "x"
    for _ in range(300):
        deep = {"message": deep}
    assert COUNTER.payload(payload(messages=[deep])) == COUNT("user") + 4 + COUNT("x")


def test_nesting_that_decodes_but_cannot_be_walked_is_a_bad_request() -> None:
    nested = b'{"messages":[' + b'{"type":"tool_result","content":[' * 400 + b"]}" * 400 + b"]}"
    with pytest.raises(BadRequest, match="nested too deeply"):
        COUNTER.payload(nested)


def test_lone_surrogates_in_a_body_count_as_replacement_characters() -> None:
    assert COUNTER.payload(b'{"messages":"a \\ud83d b"}') == COUNTER.payload(payload(messages="a \ufffd b"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "text", "content", "role", "message", "source", "data", "tool_calls", "function", "arguments", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "functions", "text", "model"]), json_values))
def test_any_json_object_is_counted_and_only_the_empty_one_is_free(document: dict[str, object]) -> None:
    body = json.dumps(document).encode()
    for count in (COUNTER.payload(body), estimate_payload(body)):
        assert (count > 0) == bool(document)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=5), st.text(min_size=1))
def test_one_more_message_never_makes_a_request_cheaper(history: list[tuple[str, str]], text: str) -> None:
    messages = [{"role": role, "content": said} for role, said in history]
    more = [*messages, {"role": "user", "content": text}]
    assert COUNTER.payload(payload(messages=more)) >= COUNTER.payload(payload(messages=messages)) + 4


# --------------------------------------------------------------------------------------------------------- estimate


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcdefg", 2), ("abcdefgh", 3), ("数", 2), ("数据", 3), ("ab数", 3), ("\ud800", 2), ("é" * 10, 15)],
)
def test_the_estimate_follows_its_formula(text: str, tokens: int) -> None:
    assert estimate_text(text) == tokens


@given(st.text())
def test_the_estimate_is_the_ceiling_of_its_formula(text: str) -> None:
    ascii_count = sum(character.isascii() for character in text)
    assert estimate_text(text) == math.ceil(ascii_count / 3.5 + 1.5 * (len(text) - ascii_count))


def test_an_estimated_request_follows_the_same_table() -> None:
    body = payload(system="seven77", messages=[{"role": "user", "content": ["seven77", PICTURE]}])
    assert estimate_payload(body) == (2 + 10) + (estimate_text("user") + 4 + 2 + 85)


def test_the_estimate_lies_near_the_count_for_source_text() -> None:
    body = payload(messages="def f(path: str) -> int:\n    return len(open(path).read())\n" * 50)
    assert 0.8 < estimate_payload(body) / COUNTER.payload(body) < 1.6


@given(st.text(), st.text(alphabet="äπ数据🚀 a"))
def test_the_quick_estimate_of_a_body_follows_the_same_formula(system: str, said: str) -> None:
    body = json.dumps({"system": system, "messages": said}, ensure_ascii=False).encode("utf-8", "replace")
    assert estimate_body(body) == estimate_text(body.decode())


def _with_file(data: str, text: str = "") -> bytes:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    return payload(messages=[{"role": "user", "content": [image, {"type": "text", "text": text}]}])


@pytest.mark.parametrize("text", ["", "some words\n" * 2000, "数据 " * 3000], ids=["alone", "beside text", "beside other text"])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"], ids=["bare", "URL"])
def test_the_quick_estimate_takes_no_base64_for_text(text: str, prefix: str) -> None:
    without = estimate_body(_with_file("", text), Images(base=1000))
    assert estimate_body(_with_file(prefix + "iVBORw0K" * 10_000, text), Images(base=1000)) == pytest.approx(without + 1000, rel=0.1)
    assert estimate_body(_with_file(prefix + "JVBERi0x" * 12_800, text)) == pytest.approx(without + 2500 + 500, abs=700)


def test_the_quick_estimate_takes_a_signature_for_nothing() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "EqQBCkYIARgC" * 1500}
    for more in ("", "some words\n" * 3000):
        body = payload(messages=[{"role": "assistant", "content": [thinking, {"type": "text", "text": more}]}])
        bare = payload(messages=[{"role": "assistant", "content": [{**thinking, "signature": ""}, {"type": "text", "text": more}]}])
        assert estimate_body(body) == pytest.approx(estimate_body(bare), abs=60)


def test_the_quick_estimate_of_a_long_body_goes_by_samples() -> None:
    body = payload(messages=("def f(path: str) -> int:\n" * 10 + "café naïve 数据 → λ\n") * 1000)
    exact = estimate_text(body.decode())
    assert estimate_body(body) == pytest.approx(exact, rel=0.05)
    hidden = b'{"a":"' + b"word " * 20_000 + "数".encode() * 100 + b'"}'
    assert estimate_body(hidden) == pytest.approx(estimate_text(hidden.decode()), rel=0.05)
