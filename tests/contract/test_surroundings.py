"""What processes must agree on before they begin."""

import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

import stores
from stores import MongoDB
from tespes import errors, surroundings
from tespes.events import seal
from tespes.local import files
from tespes.settings import Settings
from tespes.settings.audit import Audit
from tespes.settings.sections import Runner


async def test_processes_of_one_database_have_the_same_key(mongodb: MongoDB, tmp_path: Path) -> None:
    """Another key would turn away the others' runners; the key itself is not in the database."""
    place = stores.in_mongodb(mongodb, tmp_path)
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(place.open()) for _ in range(2)]
        key = await surroundings.agreed_key(Settings(state_dir=tmp_path / "a"), one.agreements)
        same = Settings(state_dir=tmp_path / "b", runner=Runner(key=SecretStr(key.decode())))
        assert await surroundings.agreed_key(same, two.agreements) == key
        with pytest.raises(errors.SetupError, match=r"runner\.key"):
            await surroundings.agreed_key(Settings(state_dir=tmp_path / "b"), two.agreements)
        assert two.agreements is not None
        assert key.decode() not in await two.agreements.agree("runner.key", "")


async def test_without_others_there_is_nobody_to_agree_with(tmp_path: Path) -> None:
    """SQLite: the key is made once, and kept."""
    settings = Settings(state_dir=tmp_path)
    assert await surroundings.agreed_key(settings, None) == await surroundings.agreed_key(settings, None)


def test_of_several_that_make_a_file_at_once_one_is_first(tmp_path: Path) -> None:
    """All read the same; nothing else is left."""
    for number in range(20):
        path, found = tmp_path / f"file{number}", list[str]()
        gate = threading.Barrier(4)

        def make(text: str, path: Path = path, gate: threading.Barrier = gate, found: list[str] = found) -> None:
            gate.wait()
            files.write_once(path, text)
            found.append(path.read_text())

        threads = [threading.Thread(target=make, args=(str(each),)) for each in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len(set(found)) == 1
    assert len(list(tmp_path.iterdir())) == 20


async def test_processes_of_one_database_seal_with_the_same_key(mongodb: MongoDB, tmp_path: Path) -> None:
    """It is made of the runners' key, which they share, or set by itself; its public half is what auditors are told."""
    place = stores.in_mongodb(mongodb, tmp_path)
    shared = SecretStr("k" * 32)
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(place.open()) for _ in range(2)]
        first = Settings(state_dir=tmp_path / "a", runner=Runner(key=shared))
        second = Settings(state_dir=tmp_path / "b", runner=Runner(key=shared))
        key = await surroundings.agreed_audit_key(first, one.agreements)
        assert seal.public(await surroundings.agreed_audit_key(second, two.agreements)) == seal.public(key)
        assert surroundings.public_audit_key(second) == seal.public(key)
        other = Settings(state_dir=tmp_path / "b", audit=Audit(key=SecretStr("o" * 32)))
        with pytest.raises(errors.SetupError, match=r"audit\.key"):
            await surroundings.agreed_audit_key(other, two.agreements)


async def test_a_key_that_was_made_is_found_again(tmp_path: Path) -> None:
    """By commands that only read; before the first start there is none."""
    settings = Settings(state_dir=tmp_path)
    assert surroundings.public_audit_key(settings) is None
    key = await surroundings.agreed_audit_key(settings, None)
    assert surroundings.public_audit_key(settings) == seal.public(key)


async def test_a_key_may_be_changed_by_who_names_the_old_one(mongodb: MongoDB, tmp_path: Path) -> None:
    """From then on those who have only the old one are turned away, and so is who names a wrong one."""
    place = stores.in_mongodb(mongodb, tmp_path)
    old, new, wrong = (SecretStr(each * 32) for each in "onw")
    before = Settings(runner=Runner(key=old))
    changed = Settings(runner=Runner(key=new, old_keys=(old,)))
    astray = Settings(runner=Runner(key=wrong, old_keys=(wrong,)))
    async with place.open() as opened:
        for agree in (surroundings.agreed_key, surroundings.agreed_audit_key):
            await agree(before, opened.agreements)
            with pytest.raises(errors.SetupError, match=r"old_keys"):
                await agree(astray, opened.agreements)
            for _ in range(2):
                await agree(changed, opened.agreements)
            with pytest.raises(errors.SetupError, match=r"old_keys"):
                await agree(before, opened.agreements)


def test_seals_of_before_a_change_of_the_key_are_known(tmp_path: Path) -> None:
    """By the runners' old keys that they were made of, or by their public keys, which may be named for ever."""
    old, new = (SecretStr(each * 32) for each in "on")
    public = [seal.public(seal.key(each.get_secret_value().encode())) for each in (old, new)]
    by_secret = Settings(state_dir=tmp_path, runner=Runner(key=new, old_keys=(old,)))
    by_public = Settings(state_dir=tmp_path, runner=Runner(key=new), audit=Audit(old_keys=(public[0].upper(),)))
    assert surroundings.audit_keys(by_secret) == surroundings.audit_keys(by_public) == set(public)
    assert surroundings.audit_keys(Settings(state_dir=tmp_path)) == frozenset()
