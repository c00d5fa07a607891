"""`genrec doctor`: what it finds here, and what it says of what is broken."""

import collections
import importlib.metadata
import json
import os
import re
import shutil
from pathlib import Path

import jax
import pytest

from genrec.cli import doctor
from genrec.cli.doctor import Finding


@pytest.fixture
def found():
    """Looks again, and finds one thing by its name."""

    def find(look, name):
        return next(each for each in doctor._safely(getattr(doctor, look)) if each.name == name)

    return find


def test_here_nothing_that_is_needed_is_broken(command, monkeypatch, tmp_path):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "_encoding", lambda: iter([]))  # pytest's own output
    shown, complaints = command("doctor", "--json")
    findings = {each["name"]: each for each in json.loads(shown)["findings"]}
    assert json.loads(shown)["ok"] is True
    assert findings["jax"]["said"] == jax.__version__
    for name in ("numpy", "optax", "flax", "duckdb", "faiss-cpu", "orbax-checkpoint"):
        assert findings[name]["said"] == importlib.metadata.version(name)
    assert str(tmp_path / "cache") in findings["cache folder"]["said"]
    assert str(len(jax.devices())) in findings["devices"]["said"]
    # People read a line for each.
    assert len(complaints) == len(findings)
    assert all(re.match(r"(ok|missing|problem) +\S", line) for line in complaints)


def test_a_problem_is_exit_status_2(command, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("disk", "problem", "it is full")])
    shown, (line,) = command("doctor", status=2)
    assert shown == "problem  disk               it is full\n"
    assert "a problem with disk" in line
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("java", "missing", "install it")])
    command("doctor")
    shown, _ = command("doctor", "--json")
    assert json.loads(shown)["ok"] is True


def test_packages_that_are_gone_old_or_broken(found, monkeypatch):
    required = {"": {"nothing-of-the-kind": "1.2", "numpy": "99", "jinja2": "3.1"}}
    monkeypatch.setattr(doctor, "_required", lambda: collections.defaultdict(dict, required))
    said = found("_packages", "nothing-of-the-kind")
    assert said.state == "problem"
    assert said.said == "missing: pip install 'nothing-of-the-kind>=1.2'"
    assert (
        found("_packages", "numpy").state == "problem"
        and "is too old" in found("_packages", "numpy").said
    )
    assert found("_packages", "jinja2").state == "ok"
    monkeypatch.setattr(doctor, "_MODULES", {"jinja2": "nothing_of_the_kind"})
    assert "cannot be imported" in found("_packages", "jinja2").said


def test_what_genrec_requires_is_read_from_what_is_installed():
    required = doctor._required()
    assert {"jax", "numpy", "faiss-cpu"} <= set(required[""])
    assert {"fastapi", "uvicorn"} <= set(required["serve"])
    assert re.fullmatch(r"[\d.]+", required[""]["jax"])


def test_extras_that_are_not_there_come_with_the_command_that_adds_them(found, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "uvicorn" else "9")
    assert found("_extras", "extra serve") == Finding(
        "extra serve", "missing", "uvicorn, for genrec serve: pip install 'genrec[serve]'"
    )
    assert found("_extras", "extra plots").state == "ok"


def test_a_folder_that_nobody_may_write_to_and_a_full_disk(found, monkeypatch, tmp_path):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "a" / "b"))
    assert found("_disks", "cache folder").state == "ok"
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**6))
    assert (
        found("_disks", "cache folder").state == "problem"
        and "nearly full" in found("_disks", "cache folder").said
    )
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"{tmp_path} cannot be written to" in found("_disks", "cache folder").said
    (tmp_path / "a").write_text("a file")
    assert found("_disks", "cache folder").state == "problem"


def test_memory(found, monkeypatch):
    total, free = doctor.memory()
    assert free is None or 0 < free <= total
    assert total <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(doctor, "memory", lambda: (2**33, 2**28))
    assert (
        found("_memory", "memory").state == "problem"
        and "8.0 GiB, 0.2 GiB free" in found("_memory", "memory").said
    )


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ('openjdk version "21.0.4" 2024-07-16', "ok"),
        ('openjdk version "17" 2021-09-14', "ok"),
        ('java version "1.8.0_392"', "missing"),
        ("no java at all", "missing"),
    ],
)
def test_java_of_many_spellings(found, monkeypatch, tmp_path, line, state):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{line}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert found("_java", "java").state == state
    Path(java).unlink()
    assert found("_java", "java").state == "missing"


def test_what_cannot_be_looked_at_is_a_finding(found, monkeypatch):
    def broken():
        raise RuntimeError("no\ndevice")

    monkeypatch.setattr(jax, "devices", broken)
    assert found("_devices", "devices") == Finding(
        "devices", "problem", "cannot be looked at: RuntimeError: no device"
    )
