"""Events as everybody may see them."""

import json

import crates
from tespes import events, tes
from tespes.events import cloud


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
