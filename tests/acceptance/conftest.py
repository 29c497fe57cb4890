"""TESPES for the tests of clients: one process for each module, with the real Pulsar and the FTP server."""

from collections.abc import Iterator

import pytest

from servers import Tespes, usual_settings
from tespes.local.ftp import LocalFTP
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: PrivateRabbitMQ,
    pulsar: LocalPulsar,
    ftp: LocalFTP,
) -> Iterator[Tespes]:
    """TESPES, running, its log in SQLite; a module's SETTINGS are variables of its environment."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, **getattr(request.module, "SETTINGS", {})}
    running = Tespes(tmp_path_factory.mktemp("clients"), variables, usual_settings(ftp))
    running.start()
    yield running
    running.stop()
