"""What an executor's image names (TES 1.1, tesExecutor.image): by which registry it is known, as what, in which version.

A reference is read as the engines read it (the distribution project's grammar): what is before the first slash is a
registry if it looks like a host. Podman asks the registries of its node for a name without one; the others ask Docker Hub.
"""

from dataclasses import dataclass

DOCKER_HUB = "docker.io"
_SIF_SCHEMES = ("library://", "oras://", "shub://", "http://", "https://")
_SHA256 = "sha256:"


@dataclass(frozen=True, slots=True)
class Image:
    """An image.

    :param name: within its registry; of an image file, where it is
    :param registry: None if the node decides
    :param sha256: of its manifest, in hexadecimal, if the reference pins it
    :param is_sif: one of Apptainer's image files, rather than an image of a registry
    """

    name: str
    registry: str | None = None
    tag: str | None = None
    sha256: str | None = None
    is_sif: bool = False


def read(reference: str, default_registry: str | None = DOCKER_HUB) -> Image:
    """The image that an executor names.

    :param default_registry: where a name without a registry is looked up
    """
    if reference.startswith(_SIF_SCHEMES) or reference.startswith("/"):
        return Image(reference, is_sif=True)
    whole, _, digest = reference.removeprefix("docker://").partition("@")
    sha256 = digest.removeprefix(_SHA256) if digest.startswith(_SHA256) else None
    before, slash, last = whole.rpartition("/")
    last, colon, tag = last.partition(":")
    registry, name = _registry(before + slash + last, default_registry)
    return Image(name, registry, tag if colon else None if digest else "latest", sha256)


def _registry(name: str, default_registry: str | None) -> tuple[str | None, str]:
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        registry: str | None = host
    else:
        registry, rest = default_registry, name
    if registry == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return registry, rest
