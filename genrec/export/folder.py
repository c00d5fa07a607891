"""Which folders an export may take the place of."""

from pathlib import Path

from genrec.errors import UserError


def refuse_others(out: Path, *, ours: bool) -> None:
    """Raises UserError if there is something at `out`, unless it is of the same kind or empty."""
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something else: choose a new folder with --out")
