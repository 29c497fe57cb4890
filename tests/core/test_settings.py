"""The settings: where they come from, and what is said of wrong ones."""

import re
import textwrap
from pathlib import Path

import pytest

from tespes import errors, settings
from tespes.settings.leaving import leaving_within
from tespes.tes.service import service_info

FILE = """
[default.http]
port = 8081
[default.pulsars.one]
slots = 3
runtime = {kind = "sandbox"}
[default.storage.ftp."ftp.example.org:2121"]
user = "tespes"
password = "from the file"
[development.log]
format = "console"
[production.log]
format = "json"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file."""
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return path


def test_the_environments_section_lies_over_the_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TESPES_ENV picks the section; development if it is not set."""
    assert settings.load(file, {}).log.format == "console"
    monkeypatch.setenv("TESPES_ENV", "production")
    chosen = settings.load(file, {})
    assert (chosen.log.format, chosen.http.port, chosen.pulsars["one"].slots) == ("json", 8081, 3)


def test_an_environment_without_a_section_is_a_mistake(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most likely it is misspelt."""
    monkeypatch.setenv("TESPES_ENV", "prodcution")
    with pytest.raises(errors.SetupError, match=r"TESPES_ENV names prodcution, which .* has no section for"):
        settings.load(file, {})


def test_variables_lie_over_files_and_options_over_variables(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later sources win; variables of the tests are nobody's business."""
    monkeypatch.setenv("TESPES_HTTP__PORT", "8082")
    monkeypatch.setenv("TESPES_ROLES", "api,project")
    monkeypatch.setenv("TESPES_TEST_MONGODB_URI", "mongodb://nowhere")
    assert settings.load(file, {}).http.port == 8082
    assert settings.load(file, {}).roles == ("api", "project")
    assert settings.load(file, {"http": {"port": 8083}}).http.port == 8083


def test_secrets_beside_the_file_are_read(file: Path) -> None:
    """`.secrets.toml`; a password of digits is a password."""
    file.with_name(".secrets.toml").write_text('[default.storage.ftp."ftp.example.org:2121"]\npassword = 12345678\n')
    login = settings.storage_options(settings.load(file, {})).ftp["ftp.example.org:2121"].login
    assert login is not None
    assert (login.user, login.password) == ("tespes", "12345678")


@pytest.mark.parametrize(
    "variable",
    [
        ("TESPES_STORE", "mongodb://u:hunter2@h/"),
        ("TESPES_RABBITMQ", "amqp://u:hunter2@h/"),
        ("TESPES_RABBITMQ__URL", "@json {'a': 'hunter2'}"),
        ("TESPES_RUNNER__KEY", "hunter2"),
        ("TESPES_RUNNER__OLD_KEYS", "['hunter2']"),
    ],
)
def test_no_secret_is_in_what_is_said(variable: tuple[str, str], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key and its source are named; the value is not."""
    monkeypatch.setenv(*variable)
    with pytest.raises(errors.SetupError) as refused:
        settings.load(file, {})
    assert "hunter2" not in str(refused.value)
    assert variable[0].removeprefix("TESPES_").lower().replace("__", ".") in str(refused.value)


def test_a_wrong_option_of_the_command_line_is_said_to_be_one(file: Path) -> None:
    """No role `foo`."""
    with pytest.raises(errors.SetupError, match=r"roles\.1 \(command line\)"):
        settings.load(file, {"roles": "api,foo"})


def test_origins_are_a_list_or_one_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment has no lists; browsers write origins in lower case."""
    monkeypatch.setenv("TESPES_HTTP__CORS_ORIGINS", "https://Portal.example.org, http://localhost:3000")
    expected = ("https://portal.example.org", "http://localhost:3000")
    assert settings.load(file, {}).http.cors_origins == expected
    assert settings.load(file, {"http": {"cors_origins": list(expected)}}).http.cors_origins == expected
    assert settings.load(file, {"http": {"cors_origins": "*"}}).http.cors_origins == ("*",)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("http.cors_origins", "portal.example.org", "an origin such as https://portal.example.org"),
        ("http.cors_origins", "https://portal.example.org/", "without a path"),
        ("service.organization_url", "example.org", "an http or https address is expected"),
        ("service.contact_url", "mailto:nobody", "an http or https address is expected, or one such as mailto:"),
        ("service.created_at", "2026-01-01T00:00:00", "timezone"),
        ("patience.silence_s", "inf", "finite number"),
        ("limits.total_s", "nan", "finite number"),
        ("placement.default_ram_gb", "inf", "finite number"),
    ],
)
def test_what_browsers_and_clients_could_not_use_is_refused(file: Path, key: str, value: str, expected: str) -> None:
    """Said once at the start."""
    section, name = key.split(".")
    with pytest.raises(errors.SetupError, match=expected) as refused:
        settings.load(file, {section: {name: value}})
    assert f"the setting {key}" in str(refused.value)
    assert "Value error" not in str(refused.value)


@pytest.mark.parametrize("drain_s", [1.0, 3.0, 10.0, 600.0])
def test_the_parts_of_the_time_to_leave_fit_it(drain_s: float) -> None:
    """What follows each other; the followers finish while requests are answered."""
    parts = leaving_within(drain_s)
    assert parts.requests_s + 2 * parts.cut_s + parts.write_s + parts.goodbye_s < drain_s
    assert parts.followers_s < parts.again_s < parts.requests_s


def test_service_info_says_what_was_set(file: Path) -> None:
    """And leaves out what was not."""
    file.with_name(".secrets.toml").write_text("[default.service]\ncreated_at = 2026-01-01T02:00:00+02:00\n")
    info = service_info(settings.service(settings.load(file, {})), (), ())
    assert info["createdAt"] == "2026-01-01T00:00:00Z"
    assert not {"contactUrl", "documentationUrl", "updatedAt", "environment"} & set(info)


def test_a_setting_outside_of_every_environment_is_named(tmp_path: Path) -> None:
    """Dynaconf would take its section for one more environment, and nobody would read it."""
    file = tmp_path / "settings.toml"
    file.write_text('[pulsars.a]\nruntime = {kind = "docker"}\n')
    with pytest.raises(errors.SetupError, match=r"the setting pulsars .* write \[default.pulsars\]"):
        settings.load(file, {})


STORAGES = """
[default.storage]
silence_s = 5
part_bytes = 8388608
[default.storage.ftp."ftp.example.org"]
tls = "explicit"
owners = [{owner = "Alice", user = "a", password = "of alice"}]
[default.storage.http."files.example.org:8443"]
token = "a token"
[default.storage.s3.buckets."results-*"]
endpoint = "https://s3.example.org"
region = "eu-1"
style = "virtual"
access_key = "AK"
secret_key = "SK"
owners = [{owner = "Alice", access_key = "AK2", secret_key = "SK2", session_token = "ST"}]
[default.storage.s3.hosts."store.example.org:9000"]
endpoint = "http://store.example.org:9000"
[default.storage.file]
read = "/srv/references, /srv/data"
write = ["/srv/results"]
[default.outputs]
missing = "fail"
"""


def test_storages_are_told_who_tespes_is(tmp_path: Path) -> None:
    """By host, bucket and owner; each kind in its own terms."""
    path = tmp_path / "settings.toml"
    path.write_text(STORAGES)
    loaded = settings.load(path, {})
    options = settings.storage_options(loaded)
    server = options.ftp["ftp.example.org"]
    assert (server.login, server.tls, server.owners["Alice"].password) == (None, "explicit", "of alice")
    access = options.http["files.example.org:8443"].access
    assert access is not None
    assert (access.user, access.token, options.http["files.example.org:8443"].through) == (None, "a token", False)
    bucket = options.s3_buckets["results-*"]
    assert (bucket.endpoint, bucket.region, bucket.style) == ("https://s3.example.org", "eu-1", "virtual")
    assert bucket.key is not None
    assert (bucket.key.access_key, bucket.key.secret_key) == ("AK", "SK")
    assert (bucket.owners["Alice"].access_key, bucket.owners["Alice"].session_token) == ("AK2", "ST")
    assert options.s3_hosts["store.example.org:9000"].key is None
    assert options.file.read == (Path("/srv/references"), Path("/srv/data"))
    assert options.file.write == (Path("/srv/results"),)
    assert (options.manners.silence_s, options.manners.part_bytes) == (5, 8388608)
    assert settings.habits(loaded).missing == "fail"


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('[default.storage.ftp."h"]\nuser = "u"', "storage.ftp.h", "user and password, or none of them, are expected"),
        ('[default.storage.http."h"]\nuser = "u"\npassword = "hunter2"\ntoken = "hunter2"', "storage.http.h", "not both"),
        ('[default.storage.s3.buckets."b"]\naccess_key = "hunter2"', "storage.s3.buckets.b", "access_key and secret_key"),
        (
            '[default.storage.s3.buckets."b"]\nendpoint = "s3.example.org"',
            "storage.s3.buckets.b.endpoint",
            "an http or https address",
        ),
        ('[default.storage.http."https://h"]\ntoken = "hunter2"', "storage.http.https://h", "the name of a host is expected"),
        ('[default.storage.s3.buckets."b*c"]', "storage.s3.buckets.b*c", "the name of a bucket is expected"),
        ('[default.storage.file]\nread = "data"', "storage.file.read.0", "an absolute path is expected"),
        ('[default.storage]\nca_file = "/nowhere.pem"', "storage.ca_file", "does not point to a file"),
        ('[default.outputs]\nmissing = "ignore"', "outputs.missing", "'note' or 'fail'"),
    ],
)
def test_wrong_settings_of_storages_are_named(text: str, key: str, said: str, tmp_path: Path) -> None:
    """The key, the file, what was expected; no secret."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(errors.SetupError) as refused:
        settings.load(path, {})
    assert key in str(refused.value)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


PULSARS = """
[default.pulsars.workstation]
runtime = {kind = "docker"}
[default.pulsars.site-a]
broker_url = "amqps://tespes:hunter2@broker.example.org/site-a"
tls = {ca = "CA"}
cpus = 64
ram_gb = 256
largest = {cpus = 16}
labels = "gpu, ssd"
weight = 2
runtime = {kind = "podman"}
callback_url = "https://tes.example.org/"
submit_params = {request_cpus = "{cpus}", request_memory = "{ram_mb}MB"}
[default.pulsars.slurm]
manager = "size_{size}"
capacity = "site"
runtime = {kind = "apptainer"}
[default.pulsars.slurm.sizes.small]
cpus = 1
ram_gb = 4
[default.pulsars.slurm.sizes.large]
cpus = 16
ram_gb = 64
slots = 10
"""
LOCAL = "amqp://guest:guest@127.0.0.1:5672/"
OWN = "http://127.0.0.1:8080"


def test_pulsars_are_what_the_settings_say(tmp_path: Path) -> None:
    """A Pulsar with size classes is one for each of them."""
    path, ca = tmp_path / "settings.toml", tmp_path / "ca.pem"
    ca.touch()
    path.write_text(PULSARS.replace('"CA"', f'"{ca}"'))
    sites = settings.sites(settings.load(path, {}), LOCAL, OWN)
    assert list(sites) == ["workstation", "site-a", "slurm.small", "slurm.large"]
    plain, site, small, large = sites.values()
    assert (plain.slots, plain.callback_url, plain.broker_url, plain.offer.weight) == (8, OWN, LOCAL, 1)
    assert (site.slots, site.offer.cpus, site.offer.ram_mb, site.offer.most_cpus) == (None, 64, 256_000, 16)
    assert (site.labels, site.weight, site.callback_url) == (frozenset({"gpu", "ssd"}), 2, "https://tes.example.org")
    assert site.submit_params == {"request_cpus": "{cpus}", "request_memory": "{ram_mb}MB"}
    assert site.tls is not None
    assert (site.tls.ca, site.tls.certificate) == (str(ca), None)
    assert (small.manager, small.slots, small.offer.most_ram_mb, small.group) == ("size_small", None, 4000, "slurm")
    assert (large.manager, large.slots, large.offer.most_cpus, large.group) == ("size_large", 10, 16, "slurm")


RUNTIME = 'runtime = {kind = "docker"}\n'
SIZED = f'[default.pulsars.a]\nmanager = "m_{{size}}"\nsizes = {{b = {{cpus = 1, ram_gb = 1}}}}\n{RUNTIME}'


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (f"slots = 0\n{RUNTIME}", "pulsars.a.slots", "tespes pulsars drain"),
        (f"slots = -1\n{RUNTIME}", "pulsars.a.slots", "greater than or equal to 1"),
        (f'key_prefix = ""\n{RUNTIME}', "pulsars.a.key_prefix", "at least 1 character"),
        (f'broker_url = "http://u:hunter2@h"\n{RUNTIME}', "pulsars.a.broker_url", "an AMQP URL is expected"),
        (f'broker_url = "amqp://u:hunter2@h"\ntls = {{}}\n{RUNTIME}', "pulsars.a", "amqps://"),
        (f'tls = {{certificate = "settings.toml"}}\n{RUNTIME}', "pulsars.a.tls", "certificate and key, or none"),
        (f'capacity = "site"\ncpus = 4\n{RUNTIME}', "pulsars.a", "the batch system counts cpus and ram_gb"),
        (f'capacity = "all"\n{RUNTIME}', "pulsars.a.capacity", "'site'"),
        (f'labels = "gpu or ssd"\n{RUNTIME}', "pulsars.a.labels.0", "a name of letters"),
        (f"weight = 0\n{RUNTIME}", "pulsars.a.weight", "greater than 0"),
        (f'manager = "m_{{size}}"\n{RUNTIME}', "pulsars.a", "sizes.NAME are expected"),
        (f"sizes = {{s = {{cpus = 1, ram_gb = 1}}}}\n{RUNTIME}", "pulsars.a", "a manager of its own"),
        (
            f'manager = "m_{{size}}"\nslots = 3\nsizes = {{s = {{cpus = 1, ram_gb = 1}}}}\n{RUNTIME}',
            "pulsars.a",
            "stand in the tables sizes.NAME",
        ),
        (
            f'submit_params = {{native_specification = "--mem={{memory}}"}}\n{RUNTIME}',
            "pulsars.a.submit_params.native_specification",
            "there is no field {memory}",
        ),
    ],
)
def test_wrong_settings_of_pulsars_are_named(text: str, key: str, said: str, tmp_path: Path) -> None:
    """At the start: the key, and what to do; no secret."""
    path = tmp_path / "settings.toml"
    path.write_text(f"[default.pulsars.a]\n{text}")
    with pytest.raises(errors.SetupError) as refused:
        settings.load(path, {})
    assert f"the setting {key}" in str(refused.value)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[default.pulsars.a]\n{RUNTIME}[default.pulsars.b]\n{RUNTIME}", "pulsars.a and pulsars.b have the same queues"),
        (
            f'[default.pulsars.a]\nbroker_url = "amqp://x:hunter2@localhost/%2F"\n{RUNTIME}[default.pulsars.b]\n{RUNTIME}',
            "the same queues",
        ),
        (
            f'[default.pulsars.a]\nkey_prefix = "pulsar_m_"\n{RUNTIME}[default.pulsars.b]\nmanager = "m"\n{RUNTIME}',
            "the same queues",
        ),
        (f"[default.pulsars.a]\ntls = {{}}\n{RUNTIME}", "pulsars.a.tls is for a broker whose URL begins with amqps://"),
        (
            f'{SIZED}[default.pulsars."a.b"]\n{RUNTIME}',
            "two Pulsars are called a.b",
        ),
        (f'[default.pulsars.a]\nbroker_url = "amqp://elsewhere/"\n{RUNTIME}', "pulsars.a.callback_url is missing"),
    ],
)
def test_pulsars_that_do_not_go_together_are_refused(text: str, said: str, tmp_path: Path) -> None:
    """Two with the same queues would take each other's messages, in turn."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(errors.SetupError) as refused:
        settings.sites(settings.load(path, {}), LOCAL, OWN)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_name_of_a_pulsar_is_a_plain_one(tmp_path: Path) -> None:
    """It stands in URLs, queue headers and reasons."""
    path = tmp_path / "settings.toml"
    path.write_text(f'[default.pulsars."site a"]\n{RUNTIME}')
    with pytest.raises(errors.SetupError, match="a name of letters, digits"):
        settings.load(path, {})


def test_the_examples_of_the_documentation_are_taken(tmp_path: Path) -> None:
    """docs/pulsars.md: each of them, as it stands there."""
    path, pem = tmp_path / "settings.toml", tmp_path / "some.pem"
    pem.touch()
    text = (Path(__file__).parent.parent.parent / "docs" / "pulsars.md").read_text()
    examples = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    assert len(examples) == 5
    for example in examples:
        path.write_text(re.sub(r"/etc/tespes/[a-z.]+", str(pem), textwrap.dedent(example).partition("# app.yml")[0]))
        assert settings.sites(settings.load(path, {}), LOCAL, OWN)
