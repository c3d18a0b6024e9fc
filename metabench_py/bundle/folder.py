"""The bundle as a folder: its manifest, and files that are what the manifest says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import orjson

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle.schema import SCHEMA_VERSION, STAGE_FITS, STAGE_NAMES
from metabench_py.errors import BundleError, StorageError

MANIFEST = "manifest.json"
ITEMS = "items.parquet"
ERRORS = "errors.parquet"
POPULATION = "population.parquet"
LICENCE = "LICENSE.md"
STACK = "stack.npz"
GAMS = tuple(f"gam/{t}.json" for t in TARGETS)

_MANIFEST_LIMIT = 4 << 20
_FILE_LIMIT = 256 << 20
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "version": str,
    "licence": str,
    "provenance": dict,
    "benchmarks": dict,
    "targets": dict,
    "errors_kind": str,
    "files": dict,
}


def fail(path: Path, file: str, what: str, cure: str = "") -> NoReturn:
    """Raise the BundleError that names folder and file, and says what to do."""
    cure = cure or "Get the bundle again from where it came from (or export it again)."
    raise BundleError(f"{path}: {file}: {what}. {cure}", path=str(path), file=file)


@dataclass(frozen=True)
class BundleFolder:
    """A bundle's manifest and where it lies.

    Attributes
    ----------
    sha256
        SHA-256 of the manifest, which holds the hashes of all other files.
    """

    path: Path
    manifest: dict[str, Any]
    sha256: str

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 by path inside the folder."""
        files: dict[str, str] = self.manifest["files"]
        return files

    def read(self, name: str) -> bytes:
        """Bytes of one file, checked against the manifest.

        Raises
        ------
        BundleError
            The file is missing or is not the one that the manifest names.
        """
        file = self.path / name
        # A pipe or a device would block or never end.
        if not file.is_file():
            fail(self.path, name, "the manifest names this file, but it is missing")
        if file.stat().st_size > _FILE_LIMIT:
            fail(self.path, name, f"larger than {_FILE_LIMIT >> 20} MB, which no such file is")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise StorageError(
                f"{self.path}: {name} cannot be read: {error.strerror}. Check its permissions.",
                path=str(self.path),
            ) from error
        if hashlib.sha256(content).hexdigest() != self.files[name]:
            fail(self.path, name, "the content differs from the hash in the manifest")
        return content


def open_folder(path: Path) -> BundleFolder:
    """Read a bundle's manifest and check its form and paths; other files are not read.

    Raises
    ------
    BundleError
        No bundle, a newer schema, a damaged manifest, or a path that leaves the folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise BundleError(
            f"{path}: no such folder; give the folder that holds {MANIFEST}.", path=str(path)
        )
    file = path / MANIFEST
    if not file.is_file():
        raise BundleError(
            f"{path}: no {MANIFEST} there, so it is not a bundle.", path=str(path), file=MANIFEST
        )
    if file.stat().st_size > _MANIFEST_LIMIT:
        fail(path, MANIFEST, f"larger than {_MANIFEST_LIMIT >> 20} MB, which no manifest is")
    raw = file.read_bytes()
    try:
        manifest = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        fail(path, MANIFEST, f"not valid JSON ({error})")
    if not isinstance(manifest, dict):
        fail(path, MANIFEST, "not a JSON object")
    _check_schema(path, manifest)
    for name, kind in _FIELDS.items():
        if not isinstance(manifest.get(name), kind):
            fail(path, MANIFEST, f"the field {name!r} is missing or of the wrong type")
    _check_stages(path, manifest)
    _check_files(path, manifest["files"])
    _check_present(path, manifest)
    for field, wanted in (("benchmarks", BENCHMARKS), ("targets", TARGETS)):
        _check_keys(path, field, manifest[field], wanted)
    return BundleFolder(path, manifest, hashlib.sha256(raw).hexdigest())


def _check_schema(path: Path, manifest: dict[str, Any]) -> None:
    schema = manifest.get("schema")
    if type(schema) is not int or schema < 1:
        fail(path, MANIFEST, "the field 'schema' is missing or not a whole number")
    if schema > SCHEMA_VERSION:
        fail(
            path,
            MANIFEST,
            f"schema {schema} is newer than {SCHEMA_VERSION}, the newest that this version reads",
            "Upgrade: pip install --upgrade metabench-py",
        )


def _check_keys(path: Path, field: str, got: dict[str, Any], wanted: tuple[str, ...]) -> None:
    extra = [k for k in got if k not in wanted]
    absent = [k for k in wanted if k not in got]
    if extra:
        fail(path, MANIFEST, f"{field!r} has the unknown entry {extra[0]!r}")
    if absent:
        fail(path, MANIFEST, f"{field!r} lacks {', '.join(absent)}")
    bad = [k for k, v in got.items() if not isinstance(v, dict)]
    if bad:
        fail(path, MANIFEST, f"{field!r}: the entry {bad[0]!r} is not an object")


def single_file(benchmark: str, fit: str) -> str:
    """Where the second stage of one benchmark alone lies."""
    return f"single/{benchmark}.{'npz' if fit == 'stack' else 'json'}"


def stages_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Give what a manifest says of its second stages, the default first."""
    if manifest["schema"] == 1:
        return [{"name": "gam", "fit": "gam"}]
    stages: list[dict[str, Any]] = manifest["second_stages"]
    return stages


def singles_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give what a manifest says of second stages of one benchmark alone."""
    singles: dict[str, dict[str, Any]] = manifest.get("single_stages", {})
    return singles if manifest["schema"] > 1 else {}


def _check_stages(path: Path, manifest: dict[str, Any]) -> None:
    if manifest["schema"] == 1:
        return
    stages, singles = manifest.get("second_stages"), manifest.get("single_stages")
    if not isinstance(stages, list) or not stages or not isinstance(singles, dict):
        fail(path, MANIFEST, "'second_stages' or 'single_stages' is missing or of the wrong type")
    seen = set()
    for stage in [*stages, *singles.values()]:
        if (
            not isinstance(stage, dict)
            or stage.get("name") not in STAGE_NAMES
            or stage.get("fit") not in STAGE_FITS
            or (stage["name"] == "stack") != (stage["fit"] == "stack")
        ):
            fail(path, MANIFEST, "a second stage has no known 'name' and 'fit'")
    for stage in stages:
        if stage["name"] in seen:
            fail(path, MANIFEST, f"two second stages {stage['name']!r}")
        seen.add(stage["name"])
    extra = [b for b in singles if b not in BENCHMARKS]
    if extra:
        fail(path, MANIFEST, f"'single_stages' has the unknown entry {extra[0]!r}")


def _check_present(path: Path, manifest: dict[str, Any]) -> None:
    needed = [ITEMS, ERRORS]
    for stage in stages_of(manifest):
        needed += [STACK] if stage["name"] == "stack" else GAMS
    needed += [single_file(b, about["fit"]) for b, about in singles_of(manifest).items()]
    absent = [name for name in needed if name not in manifest["files"]]
    if absent:
        fail(path, MANIFEST, f"{', '.join(absent)} not listed, but needed")


def _check_files(path: Path, files: dict[str, Any]) -> None:
    root = path.resolve()
    allowed_gams = {f"gam/{t}.{kind}" for t in TARGETS for kind in ("json", "rds")}
    for name, digest in files.items():
        pure = PurePosixPath(name)
        inside = (
            name
            and not pure.is_absolute()
            and ".." not in pure.parts
            and "\\" not in name
            and "\0" not in name
            and ":" not in name
            and (path / name).resolve().is_relative_to(root)
        )
        if not inside:
            fail(
                path,
                MANIFEST,
                f"the path {name!r} leaves the bundle's folder",
                "Do not use this bundle; it is damaged or hostile.",
            )
        if not isinstance(digest, str) or len(digest) != 64:
            fail(path, MANIFEST, f"the hash of {name!r} is not a SHA-256")
        if pure.parts[0] == "gam" and name not in allowed_gams:
            fail(path, MANIFEST, f"{name!r} belongs to no target ({', '.join(TARGETS)})")
