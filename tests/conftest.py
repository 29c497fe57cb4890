"""Fixtures that every folder of tests may use: real servers, each started once, and both stores."""

pytest_plugins = [
    "docker_engine",
    "engines_at_work",
    "image_registry",
    "podman_engine",
    "s3_servers",
    "servers",
    "receivers",
    "stores",
    "web_server",
    "storages",  # after those that it imports
]
