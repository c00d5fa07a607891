"""Runs the stages of a run folder, in order."""

from genrec.pipeline.runner import Outcome, open_run, run, run_stage

__all__ = ["Outcome", "open_run", "run", "run_stage"]
