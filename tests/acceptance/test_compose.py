"""What docker-compose.yaml asks of an engine, in each profile, as `docker compose config` reads it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compose_stack import configured, environment
from servers import ROOT
from tespes.settings import ROLES
from tespes.settings.sections import Http

PROFILES = ("single", "scale", "dev")
TESPES = {"tespes", "tespes-dev", "api", "worker"}
NAMES = sorted(environment("single"))


@pytest.fixture(params=PROFILES, scope="module")
def services(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The services of a profile, by name."""
    return _services(request.param, environment(request.param))


def test_each_profile_has_one_door_and_everything_behind_it(services: dict[str, Any]) -> None:
    """TESPES is published once, at 8080, and called `tespes` by the others, whoever it is."""
    doors = [name for name, service in services.items() if "8080" in {port["published"] for port in service.get("ports", ())}]
    assert len(doors) == 1
    networks = services[doors[0]]["networks"]
    assert doors == ["tespes"] or networks["default"]["aliases"] == ["tespes"]
    assert {"mongodb", "rabbitmq", "pulsar", "s3", "ftp"} < services.keys()


def test_nothing_is_published_off_loopback(services: dict[str, Any]) -> None:
    """Every port is bound to 127.0.0.1; the database and the broker are not published at all."""
    ports = [(name, port) for name, service in services.items() for port in service.get("ports", ())]
    assert {port["host_ip"] for _, port in ports} == {"127.0.0.1"}
    assert not {"mongodb", "rabbitmq", "pulsar"} & {name for name, _ in ports}


def test_an_address_off_loopback_has_to_be_asked_for() -> None:
    """BIND_ADDRESS opens what is published, but never the profile dev's TESPES."""
    opened = {profile: _services(profile, environment(profile) | {"BIND_ADDRESS": "0.0.0.0"}) for profile in PROFILES}
    assert opened["single"]["tespes"]["ports"][0]["host_ip"] == "0.0.0.0"
    assert opened["scale"]["proxy"]["ports"][0]["host_ip"] == "0.0.0.0"
    assert opened["dev"]["tespes-dev"]["ports"][0]["host_ip"] == "127.0.0.1"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_starts_without_its_secrets(name: str) -> None:
    """Each variable that docker/environment makes is required; one line names it, and says what to do."""
    variables = environment("single")
    del variables[name]
    told = configured(variables)
    assert told.returncode != 0
    assert [name in line and "make .env with docker/environment" in line for line in told.stderr.splitlines()] == [True]


def test_passwords_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    """.env is readable by whoever made it; one that is there is left alone, for services keep its passwords."""
    command = [str(ROOT / "docker" / "environment"), "scale"]
    subprocess.run(command, cwd=tmp_path, check=True)
    made = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    assert (tmp_path / ".env").read_text() == made
    unknown = subprocess.run([command[0], "many"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stderr) == (2, "there is no profile many: single, scale or dev is expected\n")


def test_passwords_are_random_and_have_no_defaults(services: dict[str, Any]) -> None:
    """Two environments share no secret, and whatever a container gets that is secret stands in the environment."""
    one, other = environment("single"), environment("single")
    secrets = {name for name, value in one.items() if len(value) >= 32}
    assert secrets == set(NAMES) - {"COMPOSE_PROFILES", "FILES_ACCESS_KEY"}
    assert not {one[name] for name in secrets} & {other[name] for name in secrets}
    told = [
        value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if re.search(r"PASS|SECRET|_KEY$|MONGODB_URI|BROKER_URL|MESSAGE_QUEUE_URL|RABBITMQ__URL|PULSARS$", name)
    ]
    assert len(told) > 10
    assert all(re.search(r"[0-9a-f]{48}|^tespes$", value) for value in told), told


def test_containers_have_as_few_rights_as_they_need(services: dict[str, Any]) -> None:
    """No new privileges anywhere; TESPES, Pulsar, S3, FTP and nginx cannot write but to their volumes and /tmp."""
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        if name not in {"mongodb", "rabbitmq"}:
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["tmpfs"] == ["/tmp"], name  # noqa: S108 - the container's own
    assert all("cap_add" not in services[name] for name in services.keys() & TESPES)


def test_containers_come_back_and_do_not_fill_the_disk(services: dict[str, Any]) -> None:
    """Each starts again after a crash, has an init, a bounded log and a limit of memory; data lies in named volumes."""
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["init"], name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert int(service["deploy"]["resources"]["limits"]["memory"]) > 0, name
    mounts = [mount for service in services.values() for mount in service.get("volumes", ())]
    named = {mount["source"] for mount in mounts if mount["type"] == "volume"}
    assert named == {"tespes", "mongodb", "mongodb-key", "rabbitmq", "files"}


def test_who_needs_another_waits_until_that_is_healthy(services: dict[str, Any]) -> None:
    """Whatever is waited for has a health check; that of TESPES and of Pulsar is in their images."""
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", (name, other)
            assert "healthcheck" in services[other] or other in TESPES, (name, other)
    for dockerfile in ("docker/tespes/Dockerfile", "docker/pulsar/Dockerfile"):
        assert "HEALTHCHECK" in (ROOT / dockerfile).read_text()


def test_tespes_is_given_the_time_that_it_takes_to_leave(services: dict[str, Any]) -> None:
    """The engine kills later than `http.drain_s`."""
    for name in services.keys() & TESPES:
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > Http().drain_s


def test_published_images_are_pinned(services: dict[str, Any]) -> None:
    """Each names a whole version; our own are built."""
    for service in services.values():
        if "build" not in service:
            assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?", service["image"]), service["image"]
    for dockerfile in ("docker/tespes/Dockerfile", "docker/pulsar/Dockerfile"):
        bases = re.findall(r"^ARG (?:BASE|DOCKER)=(\S+)$", (ROOT / dockerfile).read_text(), re.MULTILINE)
        assert all(re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+", base) for base in bases)


def test_a_task_s_files_are_at_the_same_path_outside_and_inside(services: dict[str, Any]) -> None:
    """The engine mounts them from the host into containers, by the path that Pulsar's runner knows."""
    mounts = {mount["source"]: mount["target"] for mount in services["pulsar"]["volumes"]}
    staging = services["pulsar"]["environment"]["PULSAR_CONFIG_OVERRIDE_STAGING_DIRECTORY"]
    assert any(staging.startswith(f"{source}/") and source == target for source, target in mounts.items())


def test_the_profile_scale_has_three_doors_and_two_workers() -> None:
    """Together they have every role."""
    services = _services("scale", environment("scale"))
    assert (services["api"]["deploy"]["replicas"], services["worker"]["deploy"]["replicas"]) == (3, 2)
    roles = [services[name]["environment"]["TESPES_ROLES"] for name in ("api", "worker")]
    assert set(",".join(roles).split(",")) == set(ROLES)


def test_the_profile_dev_runs_the_code_of_the_checkout() -> None:
    """src/ is mounted and imported, and a change restarts TESPES."""
    service = _services("dev", environment("dev"))["tespes-dev"]
    mounts = {mount["source"]: (mount["target"], mount.get("read_only")) for mount in service["volumes"]}
    assert mounts[str(ROOT / "src")] == ("/src", True)
    assert service["environment"]["PYTHONPATH"] == "/src"
    assert {(rule["path"], rule["action"]) for rule in service["develop"]["watch"]} >= {(str(ROOT / "src"), "restart")}


def test_the_image_has_the_versions_that_are_tested() -> None:
    """Its lock names nothing that the lock of the tests does not, at the same version."""
    tested = _locked("requirements.lock")
    assert _locked("docker/tespes/requirements.lock").items() <= tested.items()


def _services(profile: str, variables: dict[str, str]) -> dict[str, Any]:
    told = configured(variables)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)["services"]
    assert variables["COMPOSE_PROFILES"] == profile
    return found


def _locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
