"""Tool calls of a chat stream: whose fragment is it, and what may be written of it by now.

In the protocol a fragment has an index, and the first one of a call its id and name. Vendors leave the index out or count from 1, repeat id
and name in every fragment, send the name in pieces, use index 0 for call after call, give one id to two calls, and interleave calls.
"""

from __future__ import annotations

from core.errors import UpstreamGarbled
from core.translate import tools
from core.wire import chat
from core.wire.codec import encode, is_object, whole_number


class Call:
    """One tool call while its fragments come in."""

    __slots__ = ("_is_whole", "_pieces", "_written", "given_id", "id", "is_begun", "is_closed", "is_custom", "name", "number")

    def __init__(self, call_id: str, given_id: str | None) -> None:
        self.id = call_id  # what the client is told
        self.given_id = given_id  # what the upstream said
        self.name = ""
        self.is_custom = False  # its input is any text, not JSON
        self.is_begun = False  # its id and name are written
        self.number = 0  # its place among the calls, once it is begun
        self.is_closed = False  # it is written to its end
        self._pieces: list[str] = []
        self._written = 0  # pieces
        self._is_whole: bool | None = None  # None: not looked at since the last piece

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self._is_whole = None

    @property
    def text(self) -> str:
        """The arguments so far."""
        return "".join(self._pieces)

    @property
    def is_blank(self) -> bool:
        """Whether there are no arguments yet, or white space alone."""
        return not any(map(str.strip, self._pieces))

    def unwritten(self) -> str:
        """The arguments that this method has not given out before."""
        pieces, written = self._pieces, self._written
        self._written = len(pieces)
        return pieces[-1] if written == len(pieces) - 1 else "".join(pieces[written:])

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are one whole JSON object, so that nothing more can come."""
        if self._is_whole is None:  # the first look is the cheap one: fragments are many, and their text may be long
            ends = bool(self._pieces) and self._pieces[-1].rstrip()[-1:] in ("}", "")
            self._is_whole = ends and not self.is_custom and is_object(self.text)
        return self._is_whole

    def sound(self, *, cut: bool) -> str:
        """The arguments of a call of which nothing was written, as JSON.

        What is no object is kept as text under ``_raw``, unless it was cut; the input of a custom tool under ``input``.
        """
        text = self.unwritten()
        if self.is_custom:
            return encode({tools.WRAPPED: text}).decode()
        return text if cut or self.is_blank or self.is_whole else encode({"_raw": text}).decode()

    def check(self, *, cut: bool) -> None:
        """Arguments that went out already and turn out to be no JSON object cannot be taken back: the answer fails. A cut is no fault."""
        if not (cut or self.is_custom or self.is_whole):
            raise UpstreamGarbled(f'the upstream sent arguments for the tool "{self.name}" that are not a JSON object')


class Calls:
    """The calls of one answer. ``prefix`` is that of the ids that the upstream left out."""

    __slots__ = ("_by_id", "_by_key", "_ids", "_number", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._number = 0
        self._by_key: dict[int, Call] = {}  # key of the fragments -> the call they belong to now
        self._by_id: dict[str, Call] = {}  # the upstream's id -> the first call that had it
        self._ids: set[str] = set()

    def take(self, fragment: chat.Call, position: int) -> tuple[Call, bool] | None:
        """The call that ``fragment`` belongs to, after its name and arguments were added, and whether the call is new.

        None when the fragment says nothing, or comes for a call that is closed. ``position`` is its place in its list. Raises
        ``UpstreamGarbled`` for more of a name that was written already.
        """
        index = fragment.index if type(fragment.index) is int else whole_number(fragment.index)
        call = self._by_key.get(position if index is None else index)
        name, arguments = name_of(fragment), arguments_of(fragment)
        if fragment.id and (known := self._by_id.get(fragment.id)) and (index is None or (call and call.given_id != fragment.id)):
            call = known
        is_new = call is None or _begins_anew(call, fragment.id, name, arguments)
        if is_new:
            if call is None and not (fragment.id or name or arguments.strip()):
                return None
            call = self._by_key[position if index is None else index] = self._new(fragment.id)
        assert call is not None  # or it would be new
        if call.is_closed:
            return None
        if fragment.id and not call.given_id and not call.is_begun:
            call.id, call.given_id = self._unique(fragment.id), fragment.id
        if name and name != call.name and (call.is_blank or not call.name):  # a name may come in pieces, or again and again
            if call.is_begun:
                raise UpstreamGarbled(f'the upstream changed the name of the tool "{call.name}" after the call had begun')
            call.name = name if name.startswith(call.name) else call.name + name
        if fragment.custom is not None:
            call.is_custom = True
        if arguments:
            call.add(arguments)
        return call, is_new

    def _new(self, given_id: str | None) -> Call:
        call = Call(self._unique(given_id or f"{self._prefix}_{self._number}"), given_id)
        if given_id:
            self._by_id.setdefault(given_id, call)
        self._number += 1
        return call

    def _unique(self, call_id: str) -> str:
        """Results are told apart by the id, so no two calls have the same."""
        while call_id in self._ids:
            call_id = f"{call_id}_{self._number}"
        self._ids.add(call_id)
        return call_id


def _begins_anew(call: Call, call_id: str | None, name: str, arguments: str) -> bool:
    """Whether a fragment under the key of ``call`` is the beginning of another one."""
    if not (name and call.name):
        return False
    if call_id and call.given_id:
        return call_id != call.given_id
    # Without ids: where the name is repeated in every fragment, one without arguments is the tail of the call and no new one.
    return call.is_whole and (name != call.name or bool(arguments.strip()))


def name_of(call: chat.Call) -> str:
    """The name, or piece of a name, in a call or fragment; empty when it has none."""
    said = call.function or call.custom
    return (said.name if said is not None else None) or ""


def arguments_of(call: chat.Call) -> str:
    """The arguments, or piece of them, in a call or fragment. Some vendors send the whole object, or null, where a string belongs."""
    if call.function is None:
        return (call.custom.input if call.custom is not None else None) or ""
    said = call.function.arguments
    if isinstance(said, str):
        return said
    return "" if said is None else encode(said).decode()
