"""HTTP/1.1 towards clients, without a socket."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.effects import Head, Request
from core.errors import BadRequest, HeadersTooLarge, ProxyError, TooLarge
from transports.http1 import MAX_HEADERS, Connection, Phase, printable


def connection(*, max_header_bytes: int = 2000, max_body_bytes: int = 100) -> Connection:
    return Connection(max_header_bytes=max_header_bytes, max_body_bytes=max_body_bytes)


def fed(data: bytes, step: int | None = None, **limits: int) -> Connection:
    """A connection that has received ``data``, in pieces of ``step`` bytes."""
    made = connection(**limits)
    for start in range(0, len(data), step or len(data)):
        made.receive(data[start : start + (step or len(data))])
        if made.phase is not Phase.WHOLE:
            made.advance()
    return made


def request_of(made: Connection) -> Request:
    assert made.advance()
    return made.request(id="r", now=1.0, peer="p")


HOST = b"host: x\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\n" + HOST
WHOLE = [
    (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", ("GET", "/", b"")),
    (b"\r\nGET /a?b=c%20 HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "/a?b=c%20", b"")),
    (b"GET / HTTP/1.0\r\n\r\n", ("GET", "/", b"")),
    (POST + b"content-length: 5\r\n\r\nhello", ("POST", "/v1/messages", b"hello")),
    (POST + b"Content-Length: 0\r\n\r\n", ("POST", "/v1/messages", b"")),
    (POST + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", ("POST", "/v1/messages", b"")),
    (POST + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n002\r\nlo\r\n00\r\n\r\n", ("POST", "/v1/messages", b"hello")),
    (POST + b"transfer-encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", ("POST", "/v1/messages", b"\r\n")),
    (POST + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi", ("POST", "/v1/messages", b"hi")),
]


@pytest.mark.parametrize("step", [None, 1, 7])
@pytest.mark.parametrize(("data", "expected"), WHOLE)
def test_a_request_is_the_same_however_it_is_cut(data: bytes, expected: tuple[str, str, bytes], step: int | None) -> None:
    request = request_of(fed(data, step))
    assert (request.method, request.target, request.body) == expected


def test_header_names_arrive_in_lower_case_and_values_without_blanks() -> None:
    request = request_of(fed(b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key:  K e\t y \r\n\r\n"))
    assert request.headers == ((b"host", b"x"), (b"x-api-key", b"K e\t y"))


CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
BROKEN = [
    pytest.param(POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="length and chunks"),
    pytest.param(POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", id="chunks and length"),
    pytest.param(POST + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", id="the same length twice"),
    pytest.param(POST + b"content-length: 5\r\nContent-Length: 6\r\n\r\nhello", id="two lengths"),
    pytest.param(POST + b"content-length: 5, 5\r\n\r\nhello", id="a list of lengths"),
    pytest.param(POST + b"content-length: +5\r\n\r\nhello", id="signed length"),
    pytest.param(POST + b"content-length: -5\r\n\r\nhello", id="negative length"),
    pytest.param(POST + b"content-length: 0x5\r\n\r\nhello", id="hexadecimal length"),
    pytest.param(POST + b"content-length: 5 5\r\n\r\nhello", id="length with a blank"),
    pytest.param(POST + b"content-length:\r\n\r\nhello", id="empty length"),
    pytest.param(POST + b"content-length: 1" + b"0" * 30 + b"\r\n\r\n", id="endless length"),
    pytest.param(POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked twice"),
    pytest.param(POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="another coding"),
    pytest.param(POST + b"transfer-encoding: identity\r\ncontent-length: 5\r\n\r\nhello", id="identity and length"),
    pytest.param(POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", id="unknown coding"),
    pytest.param(POST + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n", id="vertical tab before the coding"),
    pytest.param(POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n", id="blank before the colon"),
    pytest.param(POST + b"content-length : 5\r\n\r\nhello", id="blank before the colon of the length"),
    pytest.param(POST + b"content-length\t: 5\r\n\r\nhello", id="tab before the colon of the length"),
    pytest.param(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks in HTTP/1.0"),
    pytest.param(b"GET / HTTP/1.1\nhost: x\n\n", id="bare LF throughout"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\nfoo: bar\r\n\r\n", id="one bare LF"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n\n", id="bare LF at the end"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo: a\rb\r\n\r\n", id="bare CR"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo: a\r\n b\r\n\r\n", id="folded with a blank"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo: a\r\n\tb\r\n\r\n", id="folded with a tab"),
    pytest.param(b"GET / HTTP/1.1\r\n host: x\r\n\r\n", id="first header folded"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo: a\x00b\r\n\r\n", id="NUL in a value"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo: a\x01b\r\n\r\n", id="control character in a value"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo: a\x7fb\r\n\r\n", id="DEL in a value"),
    pytest.param("GET / HTTP/1.1\r\nhost: x\r\nfoü: a\r\n\r\n".encode(), id="non-ASCII in a name"),
    pytest.param("GET /ü HTTP/1.1\r\nhost: x\r\n\r\n".encode(), id="non-ASCII in the target"),
    pytest.param("GÜT / HTTP/1.1\r\nhost: x\r\n\r\n".encode(), id="non-ASCII in the method"),
    pytest.param(POST + b"content-length: \xb25\r\n\r\nhello", id="non-ASCII in a length"),
    pytest.param(POST + b"transfer-encoding: chunked\xa0\r\n\r\n0\r\n\r\n", id="non-ASCII in a coding"),
    pytest.param(POST + b"transfer-encoding\xa0: chunked\r\ncontent-length: 5\r\n\r\nhello", id="non-ASCII after the name of a coding"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nf(o: a\r\n\r\n", id="bad header name"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n: a\r\n\r\n", id="no header name"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nfoo\r\n\r\n", id="no colon"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", id="two hosts"),
    pytest.param(b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", id="HTTP/2.0"),
    pytest.param(b"GET / HTTP/1.2\r\nhost: x\r\n\r\n", id="HTTP/1.2"),
    pytest.param(b"GET / HTTP/0.9\r\nhost: x\r\n\r\n", id="HTTP/0.9"),
    pytest.param(b"GET /\r\n\r\n", id="no version"),
    pytest.param(b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n", id="two blanks"),
    pytest.param(b"GET / HTTP/1.1 \r\nhost: x\r\n\r\n", id="blank after the version"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
    pytest.param(b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", id="CONNECT"),
    pytest.param(CHUNKED + b"5;x=y\r\nhello\r\n0\r\n\r\n", id="chunk extension"),
    pytest.param(CHUNKED + b"5;\nx\r\nhello\r\n0\r\n\r\n", id="LF in a chunk extension"),
    pytest.param(CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", id="blank after the chunk size"),
    pytest.param(CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n", id="blank before the chunk size"),
    pytest.param(CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", id="signed chunk size"),
    pytest.param(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", id="0x chunk size"),
    pytest.param(CHUNKED + b"5_0\r\nhello\r\n0\r\n\r\n", id="underscore in the chunk size"),
    pytest.param(CHUNKED + b"\r\nhello\r\n0\r\n\r\n", id="empty chunk size"),
    pytest.param(CHUNKED + b"00000000000000005\r\nhello\r\n0\r\n\r\n", id="17 digits of chunk size"),
    pytest.param(CHUNKED + b"5\nhello\r\n0\r\n\r\n", id="LF after the chunk size"),
    pytest.param(CHUNKED + b"5\r\nhelloXX0\r\n\r\n", id="no CRLF after the chunk"),
    pytest.param(CHUNKED + b"5\r\nhello\n\r0\r\n\r\n", id="wrong order after the chunk"),
    pytest.param(CHUNKED + b"0\r\nx-trailer: y\r\n\r\n", id="trailer"),
    pytest.param(CHUNKED + b"0\r\n\n\r\n", id="LF after the last chunk"),
]


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("data", BROKEN)
def test_what_parsers_may_frame_differently_is_refused(data: bytes, step: int | None) -> None:
    with pytest.raises(BadRequest):
        fed(data, step)


#: What is wrong -> what is said of it.
SAID = [
    (b"GET / HTTP/1.1\r\nhost: x\r\nx-api-key: SECRET\x01SECRET\r\n\r\n", "found control character 0x01 in header x-api-key"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nX-Api-Key: SECRET\x00\r\n\r\n", "found control character 0x00 in header X-Api-Key"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nfoo: SECRET\rSECRET\r\n\r\n", "found a bare CR in header foo"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nfoo: SECRET\nbar: b\r\n\r\n", "found a bare LF in header foo"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nSEC\x7fRET: a\r\n\r\n", "found control character 0x7f in header line 2"),
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"n" * 70 + b": \x02\r\n\r\n", "found control character 0x02 in header " + "n" * 64),
    (b"GET /SECRET\x01 HTTP/1.1\r\nhost: x\r\n\r\n", "found control character 0x01 in the request line"),
    (b"GET /SECRET \xff HTTP/1.1\r\nhost: x\r\n\r\n", "expected METHOD target HTTP/1.1 in the request line"),
    (b"G(T /SECRET HTTP/1.1\r\nhost: x\r\n\r\n", "expected METHOD target HTTP/1.1 in the request line"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nfoo: SECRET\r\n SECRET\r\n\r\n", "found a line break in header foo"),
    (b"GET / HTTP/1.1\r\n\tSECRET\r\n\r\n", "found a line break in the request line"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nx-api-key : SECRET\r\n\r\n", "expected a name, a colon and a value in header line 2"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nSECRET\r\n\r\n", "expected a name, a colon and a value in header line 2"),
    (b"GET / HTTP/1.1\r\n\r\n", "Missing mandatory Host: header"),
    (POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", "its length is ambiguous"),
]


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(("data", "problem"), SAID)
def test_a_malformed_request_is_told_what_is_wrong_where_and_no_value(data: bytes, problem: str, step: int | None) -> None:
    with pytest.raises(BadRequest) as caught:
        fed(data, step)
    assert (caught.value.message, caught.value.code) == (f"malformed HTTP request: {problem}", "malformed_http")


@pytest.mark.parametrize("value", ["ü".encode(), b"\x80\xff", b"caf\xe9", "日本".encode()])
@pytest.mark.parametrize("step", [None, 1])
def test_a_value_may_hold_what_is_not_ASCII(value: bytes, step: int | None) -> None:
    request = request_of(fed(b"GET / HTTP/1.1\r\nhost: x\r\nx-request-id: " + value + b"\r\n\r\n", step))
    assert request.headers[1] == (b"x-request-id", value)


@pytest.mark.parametrize(
    ("target", "host", "rest"),
    [
        (b"http://127.0.0.1:5000/health", b"127.0.0.1:5000", "/health"),
        (b"HTTPS://Proxy.Example/v1/models?limit=1", b"Proxy.Example", "/v1/models?limit=1"),
        (b"http://h", b"h", "/"),
        (b"http://h?a=b", b"h", "/?a=b"),
        (b"http://h/a?b=http://x/y", b"h", "/a?b=http://x/y"),
        (b"http://user@h/", b"user@h", "/"),
        (b"http:///a", b"", "/a"),
        (b"ftp://h/a", b"x", "ftp://h/a"),
        (b"/http://h/a", b"x", "/http://h/a"),
        (b"*", b"x", "*"),
    ],
)
def test_an_absolute_target_says_whom_it_is_for_and_Host_does_not(target: bytes, host: bytes, rest: str) -> None:
    request = request_of(fed(b"GET " + target + b" HTTP/1.1\r\na: b\r\nhost: x\r\n\r\n"))
    assert (request.target, sorted(request.headers)) == (rest, [(b"a", b"b"), (b"host", host)])


def test_a_refusal_of_an_absolute_target_is_in_the_callers_dialect() -> None:
    made = connection()
    made.receive(b"POST http://h/v1/messages HTTP/1.1\r\nhost: x\r\nbad\r\n\r\n")
    with pytest.raises(BadRequest):
        made.advance()
    assert made.target == "/v1/messages"


@pytest.mark.parametrize("step", [None, 1])
def test_a_header_block_beyond_the_limit_is_refused_before_its_end_and_in_the_callers_dialect(step: int | None) -> None:
    made = connection()

    def send_endlessly() -> None:
        made.receive(POST + b"x: ")
        for _ in range(3000 // (step or 3000)):
            made.receive(b"y" * (step or 3000))
            made.advance()

    with pytest.raises(HeadersTooLarge):
        send_endlessly()
    assert made.target == "/v1/messages"


def test_the_number_of_headers_is_limited() -> None:
    assert fed(b"GET / HTTP/1.1\r\n" + b"host: x\r\n" + b"a: b\r\n" * (MAX_HEADERS - 1) + b"\r\n").advance()
    with pytest.raises(HeadersTooLarge):
        fed(b"GET / HTTP/1.1\r\n" + b"host: x\r\n" + b"a: b\r\n" * MAX_HEADERS + b"\r\n")


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes() -> None:
    with pytest.raises(TooLarge):
        fed(POST + b"content-length: 101\r\n\r\n")
    assert request_of(fed(POST + b"content-length: 100\r\n\r\n" + b"x" * 100)).body == b"x" * 100


def test_a_chunked_body_is_refused_where_its_sizes_pass_the_limit() -> None:
    made = fed(CHUNKED + b"40\r\n" + b"x" * 64 + b"\r\n")
    made.receive(b"25\r\n")
    with pytest.raises(TooLarge):
        made.advance()


def test_what_belongs_to_the_next_request_is_kept_for_it() -> None:
    made = fed(POST + b"content-length: 2\r\n\r\nhi" + CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n")
    bodies = []
    for _ in range(3):
        bodies.append(request_of(made).body)
        made.start(Head(204, ()))
        made.end()
        assert made.restart()
    assert bodies == [b"hi", b"x", b""]
    assert made.phase is Phase.IDLE
    assert not made.advance()


@given(cuts=st.lists(st.integers(1, 60), max_size=8))
def test_pipelined_requests_survive_every_cut(cuts: list[int]) -> None:
    data = POST + b"content-length: 2\r\n\r\nhi" + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"
    made, bodies = connection(), []
    for cut in [*cuts, len(data)]:
        made.receive(data[:cut])
        data = data[cut:]
        while made.advance():
            bodies.append(made.request(id="r", now=1.0, peer="").body)
            made.start(Head(204, ()))
            made.end()
            assert made.restart()
    assert bodies == [b"hi", b"abc"]


@given(data=st.binary(max_size=300))
def test_garbage_ends_in_a_refusal_or_waits_for_more(data: bytes) -> None:
    outcome: object
    try:
        outcome = fed(b"POST / HTTP/1.1\r\nhost: x\r\n" + data).phase
    except ProxyError as error:
        outcome = error.status
    assert outcome in (Phase.HEAD, Phase.BODY, Phase.WHOLE, 400, 413, 431)


def test_a_client_that_asks_first_is_invited_once() -> None:
    made = fed(POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert made.invitation() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert made.invitation() == b""
    made.receive(b"hi")
    assert request_of(made).body == b"hi"


def test_a_client_that_sent_its_body_is_not_invited() -> None:
    made = fed(POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\nhi")
    assert made.invitation() == b""


# ------------------------------------------------------------------------------------------------------------ answers


def test_an_answer_with_a_length_goes_out_as_it_is() -> None:
    made = fed(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    request_of(made)
    sent = made.start(Head(200, ((b"content-length", b"2"),))) + made.data(b"hi") + made.end()
    assert sent == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def test_an_answer_without_a_length_goes_out_in_chunks() -> None:
    made = fed(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    request_of(made)
    sent = made.start(Head(529, ())) + made.data(b"hi") + made.data(b"") + made.end()
    assert sent == b"HTTP/1.1 529 Overloaded\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    assert made.restart()


def test_an_HTTP_1_0_client_gets_no_chunks_and_a_closed_connection() -> None:
    made = fed(b"GET / HTTP/1.0\r\n\r\n")
    request_of(made)
    sent = made.start(Head(200, ())) + made.data(b"hi") + made.end()
    assert sent == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"
    assert not made.restart()


@pytest.mark.parametrize("framing", [((b"content-length", b"2"),), ()])
def test_HEAD_gets_the_head_only(framing: tuple[tuple[bytes, bytes], ...]) -> None:
    made = fed(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    request_of(made)
    sent = made.start(Head(200, framing)) + made.data(b"hi") + made.end()
    assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert sent.endswith(b"\r\n\r\n")
    assert made.restart()


def test_a_refusal_can_be_sent_whatever_came_in() -> None:
    made = connection()
    made.receive(b"\x00\r\n\r\n")
    with pytest.raises(BadRequest):
        made.advance()
    sent = made.start(Head(400, ((b"content-length", b"1"),)), close=True) + made.data(b"x") + made.end()
    assert sent == b"HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"
    assert not made.restart()


def test_less_than_promised_is_a_bug() -> None:
    made = fed(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    request_of(made)
    made.start(Head(200, ((b"content-length", b"2"),)))
    with pytest.raises(h11.LocalProtocolError):
        made.end()


@given(value=st.binary(max_size=60))
def test_no_value_breaks_out_of_its_header_line(value: bytes) -> None:
    made = fed(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    request_of(made)
    sent = made.start(Head(204, ((b"x-proxy-model", value),)))
    assert sent.count(b"\r\n") == 3
    assert sent.count(b"\n") == 3
    assert sent.isascii()
    assert b"\x00" not in sent


def test_what_may_not_stand_in_a_header_is_masked() -> None:
    assert printable(b" a\r\nb\x00\xe9\x7f\tc ") == b"a??b???\tc"
