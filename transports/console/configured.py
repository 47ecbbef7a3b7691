"""The configuration as commands need it: what a server that starts here would have."""

from __future__ import annotations

from core.settings import SettingsError
from transports import config
from transports.config import Configuration
from transports.console.session import INVALID, Failure, Session


def configuration_of(session: Session) -> Configuration:
    """Read and check everything. Raises ``Failure`` with every problem."""
    try:
        return config.load(session.flags, session.environment, session.directory)
    except SettingsError as error:
        raise Failure(*error.problems, code=INVALID) from None
