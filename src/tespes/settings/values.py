"""The kinds of values that settings are made of."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

Secret = Annotated[SecretStr, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]
Seconds = Annotated[float, Field(gt=0)]
SecondsOrNever = Annotated[Seconds | None, BeforeValidator(lambda value: None if value == "never" else value)]


class Section(BaseModel):
    """A table of the settings: unknown keys are errors, and so are numbers that are none, or infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def listed(value: Any) -> Any:
    """A list that was written as one text, with commas."""
    return tuple(each.strip() for each in value.split(",") if each.strip()) if isinstance(value, str) else value


def _origin(value: str) -> str:
    if not re.fullmatch(r"\*|https?://[^/\s?#@]+", value, re.IGNORECASE):
        raise ValueError("an origin such as https://portal.example.org, without a path, is expected, or *")
    return value.lower()


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s][!-~]*", value, re.IGNORECASE):
        raise ValueError("an http or https address is expected")
    return value


def _contact(value: str) -> str:
    if not re.fullmatch(r"mailto:[!-~]+@[!-~]+|https?://[^/\s][!-~]*", value, re.IGNORECASE):
        raise ValueError("an http or https address is expected, or one such as mailto:tes@example.org")
    return value


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("an absolute path is expected")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[^/\s@?#*]+", value):
        raise ValueError("the name of a host is expected, without https:// and path, perhaps with its port: host:8443")
    return value


def _bucket(value: str) -> str:
    if not re.fullmatch(r"[^/\s*]*\*?", value) or not value:
        raise ValueError("the name of a bucket is expected, or its beginning and *")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", value):
        raise ValueError("a name of letters, digits, '_', '.' and '-' is expected")
    return value


def _public_key(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("64 hexadecimal digits are expected, as `tespes audit key` prints them")
    return value.lower()


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(listed)]
Address = Annotated[str, AfterValidator(_address)]
Contact = Annotated[str, AfterValidator(_contact)]
Directories = Annotated[tuple[Annotated[Path, AfterValidator(_absolute)], ...], BeforeValidator(listed)]
Host = Annotated[str, AfterValidator(_host)]
Bucket = Annotated[str, AfterValidator(_bucket)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Name = Annotated[str, AfterValidator(_name)]
UserAndGroup = Annotated[str, Field(pattern=r"^[0-9]{1,10}:[0-9]{1,10}$")]
