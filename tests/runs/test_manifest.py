"""Which settings a finished stage counts as made with."""

from dataclasses import replace

from genrec.config import Config, DataConfig, TrainingConfig
from genrec.runs.manifest import made_with, settings_of

SECTIONS = ("data", "training")


def entry(config):
    return {"config": settings_of(config, SECTIONS), "seed": config.seed}


def test_a_setting_counts():
    config = Config(training=TrainingConfig(epochs=3))
    assert made_with(entry(config), config, SECTIONS)
    for other in (
        Config(),
        replace(config, seed=1),
        replace(config, data=DataConfig(k_core=2)),
        replace(config, data=replace(config.data, columns=replace(config.data.columns, user="u"))),
    ):
        assert not made_with(entry(config), other, SECTIONS)


def test_one_that_came_later_counts_as_its_default():
    config = Config(training=TrainingConfig(epochs=3))
    before = entry(config)
    del before["config"]["training"]["init_from"]
    del before["config"]["data"]["columns"]["title"]
    assert made_with(before, config, SECTIONS)
    begun = replace(config, training=replace(config.training, init_from="runs/other"))
    assert not made_with(before, begun, SECTIONS)


def test_one_that_is_no_more_counts():
    before = entry(Config())
    before["config"]["training"]["magic"] = True
    assert not made_with(before, Config(), SECTIONS)
