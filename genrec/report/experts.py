"""What the item graph knows, what each expert is worth, and whether probabilities hold."""

from typing import Any

from genrec.evaluation.metrics import label
from genrec.report.charts import Chart, Series, line_chart


def contributions(fusion: dict[str, Any]) -> dict[str, Any] | None:
    """Every expert's weight, and what it is worth; None where none were fitted.

    Returns:
        `rows`, the weightiest first: name, weight, error, and the metric `measure` of lists without
        it and by it alone, with `bar`, the latter's share of the largest; `all`, the metric of all
        together; `users`, whom it was measured on.
    """
    if fusion["fitted"] is None:
        return None
    fitted, measured = fusion["fitted"], fusion["measured"]
    # A catalogue of a few items has shorter lists, and other cut-offs.
    measure = next((name for name in measured["all"] if name.startswith("ndcg@")), None)
    if measure is None:
        return None
    whole = measured["all"][measure]
    top = max([whole, *(alone[measure] for alone in measured["alone"].values())]) or 1.0
    rows = [
        {
            "name": name.replace("_", " "),
            "weight": f"{weight:.2f}".replace("-", "\N{MINUS SIGN}"),
            "error": f"{fitted['standard_errors'][name]:.2f}",
            "without": f"{measured['without'][name][measure]:.4f}",
            "alone": f"{measured['alone'][name][measure]:.4f}",
            "bar": measured["alone"][name][measure] / top,
        }
        for name, weight in fitted["ranking"].items()
    ]
    rows.sort(key=lambda row: -row["bar"])
    return {
        "rows": rows,
        "measure": label(measure),
        "all": f"{whole:.4f}",
        "users": f"{measured['users']:,}",
    }


def reliability_chart(fusion: dict[str, Any]) -> Chart | None:
    """What items were promised, and how often they came; None where no experts were fitted."""
    if fusion["fitted"] is None or not fusion["measured"]["reliability"]:
        return None
    rows = fusion["measured"]["reliability"]
    promised, came = ([row[name] for row in rows] for name in ("promised", "came_true"))
    return line_chart(
        "Probabilities: promised, and what came true",
        [
            Series("came true", promised, came, dots=True),
            Series("as promised", promised, promised),
        ],
        x="promised",
        form=".4f",
        zero=True,
        note="candidates of the validation users, in ten groups of equal promised sums",
    )


def graph_rows(health: dict[str, Any]) -> list[dict[str, str]]:
    """For each kind of edge its name, coverage, and mean and largest number of neighbours."""
    return [
        {
            "name": name.replace("_", " "),
            "coverage": f"{kind['coverage']:.1%}",
            "mean": f"{kind['mean_degree']:,.1f}",
            "largest": f"{kind['largest_degree']:,}",
        }
        for name, kind in health["kinds"].items()
    ]
