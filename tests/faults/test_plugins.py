from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.place import TESTS, Place, install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOYS = (
    (TESTS / "support" / "toys.py").read_text().replace('"toy-ema"', '"{name}"').replace("register(ToyStack())", "pass")
)
NO_TASKS = TOYS.replace("register(ToySum)", "pass").replace("register(ToyRagged)", "pass")
TRAINS = '"toy-ema"'


def broken(name: str, before: str = "", space: str = "", build: str = "", forward: str = "") -> str:
    """Return the code of a plugin whose only model runs extra code in one of its methods."""
    code = NO_TASKS.replace("{name}", name)
    if space:
        code = code.replace('        return {"bias": Categ', f'        {space}\n        return {{"bias": Categ')
    if build:
        code = code.replace("        return Ema(signature", f"        {build}\n        return Ema(signature")
    if forward:
        code = code.replace("        return self.scan(x)[0]", f"        {forward}")
        code = code.replace("def scan(", "def _scan(").replace("self.scan(", "self._scan(")
    return code + before


RAISES = 'raise LookupError("a plugin that raises on purpose")'


def add(place: Place, name: str, code: str) -> None:
    install(place.folder / "more", name, code, version="1.7")


def run(place: Place, *models: str) -> tuple[int, str, str]:
    place.write(models=f"[{', '.join([*models, TRAINS])}]")
    path = f"{place.folder}/more:{place.environment()['PYTHONPATH']}"
    return place.run("run", "toys.toml", "--serial", PYTHONPATH=path)


@pytest.mark.fault("a plugin that raises at import or at registration")
def test_broken_plugin_is_named_and_only_its_models_are_missing(place: Place, landed: Callable[[], None]) -> None:
    add(place, "at-import", RAISES)
    add(place, "at-registration", broken("never").replace("    register(ToyEma())", f"    {RAISES}"))
    code, out, err = run(place)
    landed()
    landed()
    assert code == 0, err
    for name in ("at-import", "at-registration"):
        assert f"plugin {name} 1.7 could not be loaded (LookupError: a plugin that raises on purpose)" in err
    assert "toy-ema" in out


@pytest.mark.fault("a plugin that raises in space or in build")
@pytest.mark.parametrize("where", ["space", "build"])
def test_plugin_that_raises_in_planning_is_named_before_anything_is_written(
    place: Place, landed: Callable[[], None], where: str
) -> None:
    code = broken("bad", space=RAISES) if where == "space" else broken("bad", build=RAISES)
    add(place, "bad-plugin", code)
    exit_, _, err = run(place, '"bad"')
    landed()
    assert exit_ == 2, err
    assert err.count("\n") == 1, err
    assert "toy-sum/bad" in err
    assert "bad-plugin 1.7 raised LookupError: a plugin that raises on purpose (bad_plugin.py:" in err
    assert not (place.folder / "runs").exists()


@pytest.mark.fault("a plugin that raises in forward, is not causal, or moves the global random state")
def test_plugin_that_misbehaves_in_forward_is_named_and_other_results_are_unchanged(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(models=f"[{TRAINS}]")
    expected = place.undisturbed()
    add(place, "raising", broken("raises", forward=RAISES))
    add(place, "peeking", broken("peeks", forward="return self.scan(x.flip(1))[0].flip(1)"))
    meddling = "torch.manual_seed(1); import random; random.seed(1); import numpy; numpy.random.seed(1); "
    add(place, "meddling", broken("meddles", forward=f"{meddling}return self.scan(x)[0]"))
    code, out, err = run(place, '"raises"', '"peeks"', '"meddles"')
    for _ in range(3):
        landed()
    assert code == 1
    assert (
        "FAILED toy-sum/raises: no search trial completed: LookupError: a plugin that raises on purpose (raising.py:"
        in err
    )
    assert "(from seqharness-toys 0.3, raising 1.7)" in err
    assert "model 'peeks' of peeking 1.7 is not causal: its outputs change with inputs that come after them" in err
    assert "model 'meddles' of meddling 1.7 moves the global random state of torch, numpy, random in forward" in err
    assert out.count("FAILED") >= 2
    results = place.by_key()
    assert {key: value for key, value in results.items() if "/toy-ema/" in key} == expected
