"""What a batch system is told of a job: templates of the settings, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tespes import tes
from tespes.pulsar import batch

ALL = tes.Resources(cpu_cores=4, ram_gb=7.2, disk_gb=99.5)
NATIVE = "--cpus-per-task={cpus} --mem={ram_mb} --time={minutes}"


def job(resources: tes.Resources | None = ALL, running_s: float | None = 3600, owner: str = "alice") -> batch.Job:
    """A job of which everything is known."""
    return batch.Job("0123abcd", owner, resources, running_s)


SILENT = job(None, None)

TABLE = [
    (NATIVE, job(), "--cpus-per-task=4 --mem=7200 --time=65"),
    (NATIVE, job(running_s=None), "--cpus-per-task=4 --mem=7200"),
    (NATIVE, job(tes.Resources(cpu_cores=0, ram_gb=0), 1), "--time=6"),
    (NATIVE, SILENT, None),
    ("{cpus}", job(), "4"),
    ("{ram_mb}MB", job(), "7200MB"),
    ("{ram_gb}G {disk_gb}G", job(), "8G 100G"),
    ("{seconds}", job(running_s=0.5), "301"),
    ("-A {owner} -J {task}", job(), "-A alice -J 0123abcd"),
    ("-c {cpus} [-t {minutes}] -q long", job(running_s=None), "-c 4 -q long"),
    ("-c {cpus} [-t {minutes}] -q long", job(), "-c 4 -t 65 -q long"),
    ("[-l nodes=1:ppn={cpus},mem={ram_mb}mb]", job(tes.Resources(cpu_cores=2)), None),
    ("-n {cpus} [-R rusage[[mem={ram_mb}]]]", job(), "-n 4 -R rusage[mem=7200]"),
    ("-n {cpus} [-R rusage[[mem={ram_mb}]]]", job(tes.Resources(cpu_cores=2)), "-n 2"),
    ("--partition=long", SILENT, "--partition=long"),
    ("", job(), None),
]  # fmt: skip


@pytest.mark.parametrize(("template", "known", "text"), TABLE)
def test_a_template_is_filled(template: str, known: batch.Job, text: str | None) -> None:
    """A piece whose value is not known is left out, and so is an entry of which nothing stays."""
    batch.check(template)
    assert batch.submit_params({"it": template}, known) == ({} if text is None else {"it": text})


@pytest.mark.parametrize("owner", ["a b", "$(id)", "a;b", "-A", "--wrap=id", "é", "a/b", "a'b\"c", "a\nb"])
def test_nothing_odd_comes_in_by_a_name(owner: str) -> None:
    """No blank, quote or sign of a shell, and no option."""
    text = batch.submit_params({"it": "{owner}"}, job(owner=owner))["it"]
    assert text[0] not in "-."
    assert text.replace("_", "").replace("-", "").replace(".", "").isalnum() or set(text) <= set("_-.")
    assert text.isascii()


@pytest.mark.parametrize(
    "template",
    ["{memory}", "{cpus!r}", "{cpus:>10}", "{cpus.real}", "{}", "{", "}", "{cpus", "[{cpus}", "{cpus}]", "[a [b] c]"],
)
def test_what_is_no_template_is_refused(template: str) -> None:
    """At the start, not with the first job."""
    with pytest.raises(ValueError, match=r"field|brackets"):
        batch.check(template)


@given(st.text(alphabet="[]{} -=cpus\n", max_size=30), st.text(max_size=20))
def test_a_template_that_is_taken_can_be_filled(template: str, owner: str) -> None:
    """Whatever it is, and whoever it is for."""
    try:
        batch.check(template)
    except ValueError:
        return
    batch.submit_params({"it": template}, job(owner=owner))
    batch.submit_params({"it": template}, SILENT)
