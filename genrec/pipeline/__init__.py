"""What runs: the stages, in order."""

from genrec.pipeline.runner import Outcome, run, run_stage

__all__ = ["Outcome", "run", "run_stage"]
