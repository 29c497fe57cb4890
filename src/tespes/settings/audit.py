"""The settings of the seals on the log."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from tespes.settings.values import PublicKey, Seconds, Secret, Section, listed


class Audit(Section):
    """How often the end of the log is sealed, see `flow.seal`: after so many commits, or so many seconds.

    `key`: what the signing key is made of; without it, it is made of the runners' key. `old_keys`: the public keys that the log
    was sealed with before, see `tespes audit key`.
    """

    key: Annotated[Secret, Field(min_length=32)] | None = None
    old_keys: Annotated[tuple[PublicKey, ...], BeforeValidator(listed)] = ()
    seal_commits: Annotated[int, Field(ge=1, le=100_000)] = 1000
    seal_s: Seconds = 60.0
