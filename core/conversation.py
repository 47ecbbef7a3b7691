"""The two endpoints that talk to a model: one request in, tried at its targets until one answers, one answer out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from core import answering, replay
from core.answering import Client
from core.asked import Asked, understand
from core.call import Call
from core.credentials import Credential, credential_for
from core.effects import Enter, Flow, Leave, Now, Pause
from core.errors import ProxyError, Refused, TooManyRequests, Unavailable, UpstreamSaid
from core.outbound import Plan, prepare, without_max_tokens
from core.routing import Target
from core.traffic import retry
from core.traffic.breaker import Attempt, Outcome
from core.traffic.gate import Gate
from core.translate import faults

#: Where clients say which conversation a request belongs to.
_SESSION_HEADER: Final = b"x-claude-code-session-id"
_SESSION_MEMBERS: Final = ("prompt_cache_key", "metadata", "user")


def converse(call: Call) -> Flow[None]:
    """Answer a request for a model."""
    asked = understand(call)
    call.record.model, call.record.stream = asked.model, asked.stream
    client = Client(call, hold=call.gateway.settings.stream_rescue == "hold") if asked.stream else None
    try:
        yield from _Course(call, asked, client).run(_targets(call, asked))
    except ProxyError as error:
        if client is None or not client.started:
            raise
        client.forget()
        yield from client.break_off(error, b"")


def _targets(call: Call, asked: Asked) -> tuple[Target, ...]:
    """Where the request may go. Pictures decide on it, and where it goes decides on how they are best found."""
    route, session = call.gateway.route, _session(call, asked) if call.gateway.router.upstreams.groups else ""
    targets = route(asked.model, images=False, wire=call.wire, session=session)
    if asked.images(translated=targets[0].protocol is not call.wire):
        targets = route(asked.model, images=True, wire=call.wire, session=session)
    return targets


def _session(call: Call, asked: Asked) -> str:
    """What stays the same over a conversation: the name its client gives it, else whose it is and how it began."""
    named = next((value for name, value in call.request.headers if name == _SESSION_HEADER), None)
    if named is None:
        named = next((value for name in _SESSION_MEMBERS if (value := asked.envelope.get(name)) is not None), None)
    if named is None:
        named = replay.conversation(call, asked)
    return hashlib.blake2b(named, digest_size=16).hexdigest()


class _Course:
    """The tries of one request: at each target in turn, at each as often as makes sense.

    Only until some of an answer has reached the client; from then on what fails has failed.
    """

    def __init__(self, call: Call, asked: Asked, client: Client | None) -> None:
        self.call = call
        self.asked = asked
        self.client = client  # of a stream
        self.traffic = call.gateway.traffic
        self.began = 0.0
        self.deadline = math.inf  # of all targets together
        self.failure: ProxyError | None = None  # the last one
        #: Seconds after which targets that were passed by may be asked: those that failed too often, and those whose key is exhausted.
        self.waits: list[float] = []
        self.rests: list[float] = []

    def run(self, targets: Sequence[Target]) -> Flow[None]:
        """Raises ``ProxyError`` when none has answered."""
        self._head_for(targets[0])
        self.began = yield from Now()
        self.deadline = self.began + max(self._time_for(target) for target in targets)
        failed, cause = targets[0], None
        for target in targets:
            credential = credential_for(self.call.client, target, first=targets[0])
            if credential is None:
                self.call.record.note(f"passed by {target.label}: it has no key of its own, and the client's is for another origin")
                continue
            cause = yield from self._at(target if cause is None else target.instead_of(failed, cause), credential)
            if cause is None:
                return
            failed = target
        raise self.failure or self._nobody()

    def _head_for(self, target: Target) -> None:
        record = self.call.record
        record.upstream_model, record.target, record.reason = target.model, target.label, target.reason

    def _nobody(self) -> ProxyError:
        """What to say where nobody was asked."""
        seconds = max(1, math.ceil(min(self.waits + self.rests)))
        if self.waits:
            return Unavailable("no upstream can be asked now: each has failed too often of late", retry_after=seconds)
        # The same as the upstream would say: clients do not try that again by themselves, as they do a 503.
        said = f"the balance of the upstream key is exhausted (code {retry.EXHAUSTED}); it is tried again in {seconds} s"
        error = UpstreamSaid(said, status=402, kind="billing_error", code=retry.EXHAUSTED)
        error.retry_after = seconds
        return error

    def _time_for(self, target: Target) -> float:
        """Seconds that all attempts at one target may take together: the time of one."""
        return self.call.gateway.deadlines(target, stream=self.client is not None).total or math.inf

    # ------------------------------------------------------------------ one target

    def _at(self, target: Target, credential: Credential) -> Flow[str | None]:
        """Ask one target. The result: None when the request is over, well or not; else why to go on to the next."""
        now = (yield from Now()) if self.failure else self.began
        if rest := self.traffic.keys.rests(target.origin, credential.digest, now):
            self.rests.append(rest)
            return retry.RESTING_KEY
        if wait := self.traffic.breakers.closed_for(target.label, now):
            self.waits.append(wait)
            return retry.OPEN_BREAKER
        try:
            plan = yield from prepare(self.call, self.asked, target, credential)
        except Refused:
            if self.failure is None and not self.waits and not self.rests:
                raise
            return "unable"  # it cannot be told the request: that is no answer to who asked another
        self._head_for(target)
        self.call.record.note(target.line)
        gate = self.traffic.keys.gate(target.origin, credential.digest, target.concurrency)
        return (yield from self._tries(plan, gate, now))

    def _tries(self, plan: Plan, gate: Gate | None, now: float) -> Flow[str | None]:
        """All attempts at one target. To its breaker they are one: what counts is how the last ended."""
        attempt, repaired, leave = 0, False, None
        deadline = now + self._time_for(plan.target)
        try:
            while True:
                attempt += 1
                came = now
                if gate is not None:
                    within, now = yield from self._enter(gate, now)
                    if not within:
                        self.failure = _full(gate, now)
                        return retry.FULL_LINE
                deadline += now - came  # to stand in our line is not the upstream's time
                if leave is None and (leave := self.traffic.breakers.ask(plan.target.label, now)) is None:
                    return (yield from self._broken(plan.target, now))  # it broke while we were waiting
                failure = yield from self._ask(self._in_time(plan, now, deadline), leave, now)
                if failure is None:
                    leave.over(Outcome.GOOD, now)
                    return None
                self.failure, now = failure, (yield from Now())
                if self.client is not None and self.client.delivered:
                    leave.over(retry.outcome_of(failure), now)
                    return None
                if gate is not None:
                    yield from Leave(crowded=retry.is_crowded(failure))
                mended = None if repaired else self._mended(plan, failure)
                decision = self._decide(failure, attempt, now, repairable=mended is not None)
                self._note(plan, failure, decision)
                if isinstance(decision, retry.Again) and now + decision.delay < deadline:
                    yield from self._pause(decision.delay)
                    now = yield from Now()
                elif mended is not None:
                    plan, repaired = mended, True
                else:
                    leave.over(retry.outcome_of(failure), now)
                    return self._leaving(plan, failure, decision, now)
        finally:
            if leave is not None:
                leave.over(Outcome.NOTHING, now)  # the client left; where it did not, the breaker knows already

    def _broken(self, target: Target, now: float) -> Flow[str]:
        self.waits.append(self.traffic.breakers.closed_for(target.label, now))
        yield from Leave()
        return retry.OPEN_BREAKER

    def _leaving(self, plan: Plan, failure: ProxyError, decision: retry.Decision, now: float) -> str:
        """Why to go on to the next target. Raises ``failure`` when it is the answer."""
        if isinstance(decision, retry.Again):  # there is no time left for that
            return retry.cause_of(failure)
        if not isinstance(decision, retry.Elsewhere):
            raise failure
        if decision.rest:
            self.traffic.keys.rest(plan.target.origin, plan.credential.digest, now)
        return decision.cause

    @staticmethod
    def _mended(plan: Plan, failure: ProxyError) -> Plan | None:
        """What to ask instead where the request itself may be the reason; None where it is not, or nothing can be done."""
        return without_max_tokens(plan) if failure.code == retry.INVALID_CALL else None

    def _decide(self, failure: ProxyError, attempt: int, now: float, *, repairable: bool) -> retry.Decision:
        request = self.call.request
        return retry.decide(
            failure,
            self.traffic.policy,
            attempt=attempt,
            dice=request.dice,
            now=now,
            deadline=self.deadline,
            epoch=request.now + now - self.began,
            repairable=repairable,
        )

    def _note(self, plan: Plan, failure: ProxyError, decision: retry.Decision) -> None:
        match decision:
            case retry.Again(delay):
                what = f"again in {delay:.2f} s"
            case retry.Repair():
                what = "again without max_tokens"
            case retry.Elsewhere():
                what = "not again here"
            case _:
                what = "not again"
        self.call.record.note(f"attempt {self.call.record.attempts} at {plan.target.label} failed ({retry.cause_of(failure)}): {what}")

    def _ask(self, plan: Plan, leave: Attempt, now: float) -> Flow[ProxyError | None]:
        """Ask once. The result is the failure, if it failed."""
        self.call.record.attempts += 1
        heard = replay.Listener() if replay.is_needed(plan.target) else None
        try:
            if self.client is not None:
                self.client.answered, self.client.asked = leave.answered, now
                return (yield from answering.stream(self.call, plan, self.client, self.asked, heard))
            yield from answering.whole(self.call, plan, self.asked, heard)
        except ProxyError as error:
            faults.redact(error, plan.credential.value)
            return error
        return None

    def _in_time(self, plan: Plan, now: float, deadline: float) -> Plan:
        """All attempts together have the time of one."""
        left = min(deadline, self.deadline) - now
        own = plan.deadlines.total
        if left == math.inf or math.isclose(left, own):  # that of the first attempt, but for what floats lose on the way
            return plan
        return replace(plan, deadlines=replace(plan.deadlines, total=min(left, own) if own else left))

    # ------------------------------------------------------------------ waiting

    def _enter(self, gate: Gate, now: float) -> Flow[tuple[bool, float]]:
        """Whether there is a place, and the time then."""
        client, waits = self.client, gate.inside >= gate.capacity
        timeout, idle = self.call.gateway.settings.key_queue_timeout, client.idle if client is not None else None
        while (within := (yield from Enter(gate, self.call.record.peer, timeout, idle))) is None:
            assert client is not None  # without an idle time there is no silence to report
            yield from client.keep_alive()
        if waits or not within:
            came, now = now, (yield from Now())
            self.deadline += now - came
        return within, now

    def _pause(self, seconds: float) -> Flow[None]:
        client = self.client
        if client is not None and client.idle is not None:
            while seconds > client.idle:
                yield from Pause(client.idle)
                yield from client.keep_alive()
                seconds -= client.idle
        yield from Pause(seconds)


def _full(gate: Gate, now: float) -> TooManyRequests:
    said = "too many requests wait for this upstream key"
    return TooManyRequests(said, code="concurrency_queue_full", retry_after=gate.reset(now))
