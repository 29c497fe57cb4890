"""Fixtures that every folder of tests may use: real servers, each started once, and both stores."""

pytest_plugins = ["docker_engine", "servers", "stores"]
