"""TIGER's recipe, in this code, beside what its paper reports.

    python tools/reproduce_tiger.py beauty --small --seeds 0 --markdown tiger.md

Codes as tokens, a bidirectional encoder, a window for every prefix of a history, user tokens, and
nothing else: no item embeddings, no dense head. Without --small the sizes are the paper's, which
asks for an accelerator (configs/beauty-tiger.yaml); with it they are what 2 cores train in about an
hour (configs/beauty-tiger-small.yaml), and the table says so. Runs that are done are not repeated;
one that was interrupted goes on.
"""

import argparse
from pathlib import Path

from genrec.errors import UserError
from reproduce.measuring import measure_seeds, run_command
from reproduce.tables import baselines, table, write


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", nargs="?", default="beauty", help="the config's first name")
    parser.add_argument("--config", type=Path, help="in place of the data set's")
    parser.add_argument("--small", action="store_true", help="in a size for 2 cores")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/tiger"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    arguments = parser.parse_args()
    size = "-small" if arguments.small else ""
    config = arguments.config or Path("configs") / f"{arguments.data}-tiger{size}.yaml"
    if not config.exists():
        raise UserError(f"{config} does not exist: name --config")
    figures = measure_seeds(config, arguments.seeds, arguments.out, arguments.set)
    runs = {config.stem: figures}
    others = baselines(arguments.out, runs, arguments.seeds)
    text = table(arguments.data, runs, others, ["TIGER", "TIGER, GRID's"])
    if arguments.small:
        text += "\nSmaller than the paper's model, and trained for fewer steps: not its figures.\n"
    print(text)
    write({"seeds": arguments.seeds, "runs": runs}, text, arguments.json, arguments.markdown)


if __name__ == "__main__":
    run_command(main)
