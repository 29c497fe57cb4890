"""The TESPES that runs with these settings, if one does: what it says of itself."""

from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from tespes.doctor.finding import Finding, ok, problem, warning

ABOUT: Final = "tespes"
_ANSWER_S: Final = 10.0


async def look(url: str, is_free: bool) -> AsyncIterator[Finding]:  # noqa: FBT001 - it is partly applied
    """What its `/readyz` says.

    :param is_free: nobody listened there a moment ago
    """
    if is_free:
        yield ok(ABOUT, f"none runs at {url}, and it could listen there")
        return
    try:
        found = await _asked(f"{url}/readyz")
        checks: dict[str, Any] = found["checks"]
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError, TypeError):
        said = f"somebody else listens at {url}, or this user may not, or it is no address of this machine"
        yield problem(ABOUT, f"{said}: choose another http.port")
        return
    yield ok(ABOUT, f"runs at {url} with the roles {', '.join(found['roles'])}")
    for name, check in checks.items():
        if check["status"] != "ready":
            tell = problem if check["status"] == "away" or "lag_commits" in check else warning
            yield tell(f"{ABOUT} {name}", f"it says: {check.get('reason')}")


async def _asked(url: str) -> Any:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        return await answer.json(content_type=None)
