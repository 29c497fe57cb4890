"""Service info (TES 1.1 tesServiceInfo, GA4GH service-info 1.0.0)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

TES_VERSION = "1.1.0"


@dataclass(frozen=True, slots=True)
class Service:
    """Who answers here.

    :param id: reverse domain name of this installation
    :param organization_url: an http(s) address of who runs it
    :param contact_url: a page or a mailto: address; this and what follows: None leaves it out
    :param created_at: when the service was first there; :param updated_at: when it was last changed
    :param environment: for example `production` or `test`
    """

    id: str
    name: str
    description: str
    organization_name: str
    organization_url: str
    version: str
    contact_url: str | None = None
    documentation_url: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    environment: str | None = None


def service_info(service: Service, storage: tuple[str, ...], backend_parameters: tuple[str, ...]) -> dict[str, Any]:
    """The answer to GetServiceInfo: only the standard's fields, no null (py-tes refuses any other)."""
    answer: dict[str, Any] = {
        "id": service.id,
        "name": service.name,
        "type": {"group": "org.ga4gh", "artifact": "tes", "version": TES_VERSION},
        "description": service.description,
        "organization": {"name": service.organization_name, "url": service.organization_url},
        "version": service.version,
        "storage": list(storage),
        "tesResources_backend_parameters": list(backend_parameters),
    }
    more = {
        "contactUrl": service.contact_url,
        "documentationUrl": service.documentation_url,
        "createdAt": _text(service.created_at),
        "updatedAt": _text(service.updated_at),
        "environment": service.environment,
    }
    return answer | {name: value for name, value in more.items() if value}


def old_service_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """The same as clients made before TES 1.1 ask for it, at /tasks/service-info: three fields, and no other (py-tes 0.4)."""
    return {"name": info["name"], "doc": info["description"], "storage": info["storage"]}


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
