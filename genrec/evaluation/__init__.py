"""How good the recommendations are: protocol, metrics and baselines."""

from genrec.evaluation.baselines import item_knn, most_popular
from genrec.evaluation.cost import decoding_cost
from genrec.evaluation.details import details_tables, gains_over, ranking_details
from genrec.evaluation.metrics import mrr_at, ndcg_at, recall_at, summarise, target_ranks
from genrec.evaluation.protocol import RankingFunction, evaluate, evaluate_parts
from genrec.evaluation.table import results_table
from genrec.evaluation.untrained import graph_and_content

__all__ = [
    "RankingFunction",
    "decoding_cost",
    "details_tables",
    "evaluate",
    "evaluate_parts",
    "gains_over",
    "graph_and_content",
    "item_knn",
    "most_popular",
    "mrr_at",
    "ndcg_at",
    "ranking_details",
    "recall_at",
    "results_table",
    "summarise",
    "target_ranks",
]
