"""Records in a folder: `sales`, `returns` and `visits` as Parquet or CSV; `quarantined` and `report` always as CSV.

Each file appears whole or not at all. `records.json` says what the folder holds and whether all of it is written, with a
digest of each table. A folder with anything else in it is refused, so nothing that was written is lost. Saving the same
records again completes what an interrupted run left.
"""

import hashlib
from pathlib import Path

from jaxprice import checks, files
from jaxprice.data import frames
from jaxprice.data.frames import Frame
from jaxprice.data.records import Records, checked

KIND = "jaxprice records, 1"
ABOUT = "records.json"


def save(records: Records, folder: str | Path, *, format: str = "parquet") -> None:
    """Writes records into a folder, which is made if it is not there.

    Args:
      records: to write.
      folder: an empty or new one, or one that holds the same records.
      format: "parquet" or "csv", of all but the quarantined rows and the report.

    Raises:
      ValueError: the folder cannot be written, or holds other files or other records.
    """
    ending = checks.choice("format", format, ("parquet", "csv"))
    folder = Path(folder)
    tables = {name: table for name, table in _tables(records).items() if table is not None}
    about = {
        "kind": KIND,
        "complete": False,
        "tables": {
            name: {
                "file": f"{name}.{'csv' if name in ('quarantined', 'report') else ending}",
                "rows": len(table),
                "digest": digest(table),
                "types": {str(column): str(kind) for column, kind in table.dtypes.items()},
            }
            for name, table in tables.items()
        },
        "currency": records.currency,
        "source": records.source,
        "notice": records.notice,
    }
    held, writable = files.open_folder(folder, "folder", "saved records", lambda: _about(folder) is not None)
    if not writable:
        raise ValueError(f"folder must be a folder that can be written, got {str(folder)!r}")
    before = _about(folder) if held else None
    if before is not None and before | {"complete": False} != about:
        rows = before["tables"].get("sales", {}).get("rows")
        raise ValueError(
            f"folder must be empty or hold the same records, but {folder} holds others ({rows} sales, from "
            f"{before['source'] or 'an unknown source'}): choose another folder"
        )
    files.write_json(folder / ABOUT, about)
    for name, table in tables.items():
        with files.whole(folder / about["tables"][name]["file"]) as made:
            if about["tables"][name]["file"].endswith(".csv"):
                table.to_csv(made, index=False)
            else:
                table.to_parquet(made, index=False)
    files.write_json(folder / ABOUT, about | {"complete": True})


def load(folder: str | Path) -> Records:
    """The records of a folder. Quarantined rows come back as texts.

    Raises:
      ValueError: the folder holds no records, was not written to its end, or a file is missing or was changed.
    """
    pandas = frames.pandas()

    folder = Path(folder)
    about = _about(folder)
    if about is None:
        raise ValueError(f"folder must hold saved records, but {folder} has no {ABOUT} of such")
    if not about["complete"]:
        raise ValueError(f"folder {folder} was not written to its end: save the records there again")
    tables = {}
    for name, facts in about["tables"].items():
        path = folder / facts["file"]
        if not path.is_file():
            raise ValueError(f"folder {folder} lacks {path.name}")
        if path.suffix == ".parquet":
            table = pandas.read_parquet(path)
        else:
            kept = {} if name == "quarantined" else facts["types"]
            plain = {"row": "int64"} | {column: kind for column, kind in kept.items() if not kind.startswith("datetime")}
            types = {column: plain.get(column, "str") for column in facts["types"]}
            exact = {} if int(pandas.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
            table = pandas.read_csv(path, dtype=types, keep_default_na=name != "report", **exact)
            for column, kind in kept.items():
                if kind.startswith("datetime"):
                    table[column] = pandas.to_datetime(table[column], format="ISO8601").astype(kind)
        if name != "quarantined" and digest(table) != facts["digest"]:
            raise ValueError(f"folder: {path} was changed after it was written")
        tables[name] = table
    checked(tables["sales"])
    return Records(**tables, currency=about["currency"], source=about["source"], notice=about["notice"])


def digest(table: Frame) -> str:
    """16 hex digits of the content of a table: names of columns, and values in their order."""
    pandas = frames.pandas()

    types = pandas.api.types
    made = hashlib.sha256(repr([str(name) for name in table.columns]).encode())
    for name in table.columns:
        column = table[name]
        if not types.is_numeric_dtype(column.dtype) and not types.is_datetime64_any_dtype(column.dtype):
            column = column.astype("str").where(column.notna(), "")
        made.update(pandas.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    return made.hexdigest()[:16]


def _tables(records):
    return {name: getattr(records, name) for name in ("sales", "returns", "quarantined", "report", "visits")}


def _about(folder):
    """What `records.json` says, or None if it is not ours."""
    about = files.read_json(folder / ABOUT)
    return about if isinstance(about, dict) and about.get("kind") == KIND else None
