"""A run whose titles and user ids would do harm on a careless page."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TITLES = (
    "</script><script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 2'>",
    "\"'><svg onload=window.harmed=3> & <!-- <script>",
    "film\u2028{{ 7 * 7 }}{% raw %}",
)


def hostile_run(run: Path, folder: Path) -> Path:
    """A copy of an evaluated run, with other titles and users."""
    shutil.copytree(run, folder)
    path = folder / "dataset/items.parquet"
    items = pq.read_table(path)
    titles = [f"{TITLES[n % len(TITLES)]} {n}" for n in range(items.num_rows)]
    column = items.schema.get_field_index("title")
    pq.write_table(items.set_column(column, "title", pa.array(titles)), path)
    path = folder / "recommendations_filtered.parquet"
    lists = pq.read_table(path)
    users = [f"<b onclick=alert()>{user}" for user in lists["user_id"].to_pylist()]
    pq.write_table(lists.set_column(0, "user_id", pa.array(users)), path)
    return folder
