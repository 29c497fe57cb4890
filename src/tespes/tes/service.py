"""Service info (TES 1.1 tesServiceInfo, GA4GH service-info 1.0.0)."""

from dataclasses import dataclass
from typing import Any

TES_VERSION = "1.1.0"


@dataclass(frozen=True, slots=True)
class Service:
    """Who answers here.

    :param id: reverse domain name of this installation
    :param organization_url: an http(s) address of who runs it
    :param environment: for example `production` or `test`; None leaves it out
    """

    id: str
    name: str
    description: str
    organization_name: str
    organization_url: str
    version: str
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
    if service.environment:
        answer["environment"] = service.environment
    return answer
