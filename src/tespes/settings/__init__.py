"""The settings: merged by dynaconf, checked once by pydantic. Nothing else in TESPES reads files or the environment for them.

Sources, later ones win: `settings.toml` (section `[default]`, then the one that TESPES_ENV names), `.secrets.toml` beside
it, environment variables `TESPES_<SECTION>__<KEY>`, options of the command line.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dynaconf
from dynaconf.utils import inspect
from pydantic import ValidationError

from tespes import errors
from tespes.settings.options import (
    defaults,
    endpoint,
    habits,
    leaving,
    pace,
    patience,
    read_models,
    roles,
    service,
    showing,
    sites,
    storage_options,
    store_options,
    webhooks,
)
from tespes.settings.sections import ROLES, Settings

__all__ = [
    "ROLES",
    "Settings",
    "defaults",
    "endpoint",
    "habits",
    "leaving",
    "load",
    "pace",
    "patience",
    "read_models",
    "roles",
    "service",
    "showing",
    "sites",
    "storage_options",
    "store_options",
    "webhooks",
]

PREFIX = "TESPES"
SWITCHER = "TESPES_ENV"
ENVIRONMENT = "development"
_SWITCH = "env"
_SECRET = frozenset(
    {"password", "url", "broker_url", "mongodb_uri", "key", "old_keys", "token"}
    | {"access_key", "secret", "secret_key", "session_token"}
    | {"traces"}  # a whole section, for the address of a collector may have a login
)


def load(path: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """The settings.

    :param path: the settings file; None means `settings.toml` in the working directory, if there is one
    :param overrides: what the command line says, nested like the settings
    :raises errors.SetupError: a key is unknown or its value wrong (names key, file and what was expected)
    """
    if path is not None and not path.is_file():
        raise errors.SetupError(f"the settings file {path} does not exist")
    main = path or Path("settings.toml")
    _check_environment(main)
    merged = _merge([main, main.with_name(".secrets.toml")])
    values = _lowered(merged.as_dict())
    for name in [name for name in values if name.startswith("test_") or name == _SWITCH]:
        del values[name]  # variables such as TESPES_TEST_MONGODB_URI are for the tests
    try:
        return Settings.model_validate(_overlaid(values, overrides))
    except ValidationError as error:
        raise errors.SetupError(_explained(error, merged, main)) from error


def _merge(files: list[Path]) -> dynaconf.Dynaconf:
    try:
        merged = dynaconf.Dynaconf(
            envvar_prefix=PREFIX,
            settings_files=[str(file.resolve()) for file in files],
            environments=True,
            env_switcher=SWITCHER,
            env=os.environ.get(SWITCHER, ENVIRONMENT),
            merge_enabled=True,
        )
        merged.as_dict()
    except Exception as error:
        raise errors.SetupError(f"the settings in {files[0]} cannot be read: {error}") from error
    return merged


def _check_environment(main: Path) -> None:
    """A name that is asked for and has no section is a mistake, most likely a misspelt one; so is a setting in none."""
    chosen = os.environ.get(SWITCHER)
    if not main.is_file():
        return
    try:
        sections = tomllib.loads(main.read_text())
    except (OSError, ValueError) as error:
        raise errors.SetupError(f"the settings in {main} cannot be read: {error}") from error
    if misplaced := sorted(Settings.model_fields.keys() & {name.lower() for name in sections}):
        raise errors.SetupError(f"the setting {misplaced[0]} ({main}) is in no environment: write [default.{misplaced[0]}]")
    if chosen and chosen.lower() not in {name.lower() for name in sections}:
        known = ", ".join(sections) or "no section at all"
        raise errors.SetupError(f"{SWITCHER} names {chosen}, which {main} has no section for; it has {known}")


def _lowered(value: Any) -> Any:
    """Keys as the models have them: variables of the environment come in capitals."""
    if isinstance(value, dict):
        return {str(name).lower(): _lowered(entry) for name, entry in value.items()}
    return value


def _overlaid(values: Any, over: Mapping[str, Any]) -> Any:
    laid = dict(values)
    for name, value in over.items():
        laid[name] = _overlaid(laid.get(name, {}), value) if isinstance(value, Mapping) else value
    return laid


def _explained(error: ValidationError, merged: dynaconf.Dynaconf, main: Path) -> str:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        said = "there is no such setting"
    elif first["type"] == "missing":
        said = "it is missing"
    elif first["type"] == "too_short":
        said = f"at least {first['ctx']['min_length']} characters are expected"
    else:
        said = f"{_found(where, first['input'])}{first['msg'].removeprefix('Value error, ')}"
    return f"the setting {'.'.join(where)} ({_source(merged, where, main)}): {said}"


def _found(where: list[str], value: Any) -> str:
    """The wrong value, unless it could be a secret: those, and whole sections, are never shown."""
    plain = isinstance(value, str | int | float) and len(where) > 1 and not _SECRET & set(where)
    return f"found {value!r}: " if plain else ""


def _source(merged: dynaconf.Dynaconf, where: list[str], main: Path) -> str:
    """Which file or variable a wrong value comes from."""
    for length in range(len(where), 0, -1):
        variable = f"{PREFIX}_{'__'.join(where[:length])}".upper()
        if variable in os.environ:
            return f"environment variable {variable}"
    try:
        history = inspect.get_history(merged, key=where[0])
    except inspect.KeyNotFoundError:
        return "command line"
    named = [str(each["identifier"]) for each in history if Path(str(each["identifier"])).suffix == ".toml"]
    return named[-1] if named else str(main)
