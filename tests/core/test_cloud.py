"""Events as everybody may see them."""

import json

import orjson
import pytest

import crates
from tespes import events, tes
from tespes.events import cloud
from tespes.tes import urls


def test_what_users_keep_to_themselves_is_not_published() -> None:
    """Contents, values of variables, and what opens a file: logins and signatures in URLs. The rest of the order is there."""
    signed = tes.Output(url="https://bucket.example.org/out?X-Amz-Signature=d0-n0t-tell", path="/data/signed")
    order = crates.ORDER.model_copy(update={"outputs": (*(crates.ORDER.outputs or ()), signed)})
    shown = cloud.public(events.TaskCreated(task=order))
    text = json.dumps(shown)
    assert crates.SECRET not in text
    assert "pass" not in text
    assert [each.get("url") for each in shown["task"]["inputs"]] == [
        "ftp://files.example.org/words",
        None,
        "s3://bucket/genomes",
    ]
    assert shown["task"]["outputs"][-1] == {"url": "https://bucket.example.org/out", "path": "/data/signed", "type": "FILE"}
    assert shown["task"]["executors"][0]["command"] == ["/usr/bin/wc", "-w", "two words"]


def test_many_short_texts_do_not_become_something_large() -> None:
    """Each of the first thousand has a digest; the names of all are there."""
    env = {f"{number:x}": "" for number in range(10_000)}
    executors = tuple(tes.Executor(image="any", command=("true",), env=env) for _ in range(8))
    inputs = tuple(tes.Input(path=f"/{number}", content="") for number in range(500))
    created = events.TaskCreated(task=tes.Task(executors=executors, inputs=inputs))
    shown = cloud.public(created)
    first, *others = (each["env"] for each in shown["task"]["executors"])
    assert all(each["content"]["size_bytes"] == 0 for each in shown["task"]["inputs"])
    assert first.keys() == others[-1].keys() == env.keys()
    assert sum(value is not None for value in first.values()) == 500
    assert not any(value for each in others for value in each.values())
    assert len(orjson.dumps(shown)) < 2 * 2**20


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:pass@hooks.example.org/services/SECRET?token=SECRET#SECRET", "https://hooks.example.org"),
        ("http://[::1]:9000/SECRET", "http://[::1]:9000"),
        ("http://[::1", "a URL that cannot be read"),
    ],
)
def test_a_path_may_be_a_secret_too(url: str, expected: str) -> None:
    """Where somebody is, and nothing else."""
    assert urls.origin(url) == expected
