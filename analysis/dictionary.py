"""The data dictionary: `outputs/README.md`, made from the schemas. `python -m analysis.dictionary` prints it."""

import sys

import pyarrow as pa

from analysis.schemas import TABLES, Table

_HEAD = """# Outputs of typicality

One folder a table, Parquet files in it; every column carries its description and unit in the Arrow schema too. Read
them with pandas:

```python
import pandas as pd

estimates = pd.read_parquet("outputs/estimates")
adjusted = estimates.query(
    "specification == 'bt_length' and term == 'typicality' and measure == 'mean_logprob' and slice == 'all'"
)
adjusted[["dataset", "base_model", "adjusted_rate", "adjusted_rate_low", "adjusted_rate_high", "p_holm", "status"]]

differences = pd.read_parquet("outputs/differences")
differences.groupby(["dataset", "base_model", "measure"])["agrees"].mean()
```

with DuckDB:

```sql
SELECT dataset, base_model, estimate, conf_low, conf_high
FROM 'outputs/estimates/*.parquet'
WHERE specification = 'rate' AND measure = 'mean_logprob' AND slice = 'all';

SELECT d.dataset, d.base_model, r.response, d.difference
FROM 'outputs/differences/*.parquet' d
JOIN 'outputs/comparisons/*.parquet' c USING (study, dataset, comparison_id)
JOIN 'outputs/responses/*.parquet' r ON r.response_id = c.response_a
WHERE d.measure = 'mean_logprob' AND NOT d.agrees
ORDER BY abs(d.difference) DESC LIMIT 10;
```

with Polars and with `datasets`:

```python
import polars as pl

pl.scan_parquet("outputs/differences/*.parquet").filter(pl.col("dataset") == "demo").collect()

from datasets import load_dataset

load_dataset("outputs", "estimates", split="train")
```

or with the project's own reader, which knows the schemas, its wide tables and its figures (the report's own):

```python
from analysis import tables
from analysis.report import figures
from analysis.report.etable import tidy

estimates = tables.read("estimates", "outputs", study="demo")
tidy(estimates, statistic="interval")
figures.ladder(estimates).savefig("ladder.svg")
figures.forest(estimates, synthesis=tables.read("synthesis", "outputs", study="demo"))
figures.distribution(tables.read("differences", "outputs", study="demo"))
figures.narrowing(tables.read("forecasts", "outputs", study="demo"))
```

(`datasets` refuses a table that holds no row, such as `exclusions` where nothing was left out.)

What a row of one table shares with a row of another: `response_id` (responses, features, scores; `response_a` and
`response_b` of comparisons), `comparison_id` (comparisons, differences), `scoring_id` (scores; `cells` of runs says
which one a cell used), `run_id` (estimates, runs), `request_id` (answers, generations). A response may have scores
under several `scoring_id`s: filter by one before joining.

- `responses`, `features` and `scores` are shared by all studies and only grow; a text is scored once under one
  `scoring_id`.
- `comparisons`, `differences`, `estimates`, `forecasts`, `prompt_forecasts`, `diversity`, `heterogeneity`,
  `influences`, `synthesis`, `agreement` and `exclusions` hold one file a study, replaced when a run of it ends;
  `diversity` holds one for each file that `typicality diversity` read, too.
- `temperature`, and `monitor` with `signs`, hold one file for each file and base model that the commands of these names
  were given; the same again replaces it.
- `answers` holds what `typicality sample` was answered, is shared by all its studies and only grows; `generations`,
  `remedies` and `samplings` hold one file a study of remedies, replaced when a run of it ends (so does `diversity`).
- `runs` holds one file a run; `runs/<run_id>/_estimates.parquet` keeps what each run estimated.
- `manifest.json` lists every table's files with size, rows and SHA-256, and a version of each schema;
  `analysis.manifest.verify` says which files differ.
- `reports/<study>/latest/index.html` and `report.md` are the newest report; earlier ones stay beside it.
"""


def data_card() -> str:
    """The data dictionary as Markdown, with front matter that `datasets.load_dataset` reads."""
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in TABLES)
    return f"---\nconfigs:\n{configs}---\n{_HEAD}\n" + "\n".join(_section(table) for table in TABLES.values())


def _section(table: Table) -> str:
    lines = [
        f"## {table.name}\n\nA row is {table.row}.\n",
        "| Column | Type | Unit | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for column in table.columns:
        kind = _kind(column.type) + (", may be null" if column.nullable else "")
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {column.description} |")
    return "\n".join(lines).replace("response | prompt", "response \\| prompt") + "\n"


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        inner = type_.value_type
        if pa.types.is_struct(inner):
            return f"list of ({', '.join(inner.field(i).name for i in range(inner.num_fields))})"
        return f"list of {_kind(inner)}"
    if pa.types.is_timestamp(type_):
        return "timestamp, UTC"
    return {"double": "float64"}.get(str(type_), str(type_))


if __name__ == "__main__":
    sys.stdout.write(data_card())
