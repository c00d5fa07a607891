"""Charts of a training by the lines of metrics.jsonl, and of the tokenizer's by health.json."""

from typing import Any

from genrec.config import Config
from genrec.evaluation.metrics import label
from genrec.report.charts import Chart, Series, line_chart

_PER_STEP = {
    "loss": ("Training loss", ".3f"),
    "targets_per_second": ("Next items trained per second", ",.0f"),
    "learning_rate": ("Learning rate", ".2e"),
    "gradient_norm": ("Gradient norm", ".3f"),
}


def training_charts(log: list[dict[str, Any]], config: Config) -> list[Chart]:
    """Loss, validation, speed and the rest over the steps; a chart for each that was logged."""
    charts = []
    for name, (title, form) in _PER_STEP.items():
        points = [(line["step"], line[name]) for line in log if name in line]
        if points:
            x, y = map(list, zip(*points, strict=True))
            zero = name == "targets_per_second"
            charts.append(line_chart(title, [Series(title, x, y)], x="step", form=form, zero=zero))
    validated = [line for line in log if "validation" in line]
    if validated:
        steps = [line["step"] for line in validated]
        series = [
            Series(label(name), steps, [line["validation"][name] for line in validated], dots=True)
            for name in ("ndcg@10", "recall@10")
        ]
        note = (
            f"{config.training.validation_users:,} validation users at most, filtered, beam "
            f"{config.training.validation_beam}; by "
            f"{'the codes' if config.model.codes else 'the dense head'} alone"
        )
        charts.insert(1, line_chart("Validation", series, x="step", form=".4f", note=note))
    return charts


def tokenizer_charts(history: list[dict[str, Any]]) -> list[Chart]:
    """Error and perplexity over the training of the tokenizer; [] for one that is not trained."""
    if not history:
        return []
    steps = [line["step"] for line in history]
    error = Series("error", steps, [line["relative_error"] for line in history])
    levels = [
        Series(f"level {level + 1}", steps, [line["perplexity"][level] for line in history])
        for level in range(len(history[0]["perplexity"]))
    ]
    return [
        line_chart(
            "Tokenizer: error",
            [error],
            x="step",
            note="what the codes lose of the vectors' variance, in training",
        ),
        line_chart(
            "Tokenizer: perplexity of each level",
            levels,
            x="step",
            form=",.1f",
            note="so many codes, used evenly, would tell as much",
        ),
    ]
