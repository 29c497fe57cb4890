"""The settings: where they come from, and what is said of wrong ones."""

from pathlib import Path

import pytest

from tespes import errors, settings
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
    login = settings.storage_options(settings.load(file, {})).ftp_logins["ftp.example.org:2121"]
    assert (login.user, login.password) == ("tespes", "12345678")


@pytest.mark.parametrize(
    "variable",
    [
        ("TESPES_STORE", "mongodb://u:hunter2@h/"),
        ("TESPES_RABBITMQ", "amqp://u:hunter2@h/"),
        ("TESPES_RABBITMQ__URL", "@json {'a': 'hunter2'}"),
        ("TESPES_RUNNER__KEY", "hunter2"),
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
    ],
)
def test_what_browsers_and_clients_could_not_use_is_refused(file: Path, key: str, value: str, expected: str) -> None:
    """Said once at the start."""
    section, name = key.split(".")
    with pytest.raises(errors.SetupError, match=expected) as refused:
        settings.load(file, {section: {name: value}})
    assert f"the setting {key}" in str(refused.value)
    assert "Value error" not in str(refused.value)


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
