"""What a whole run does, from one TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from metabench_py.calibration.crossvalidate import CrossValidationOptions
from metabench_py.calibration.pipeline import CalibrationOptions, Description
from metabench_py.calibration.preprocess import PreprocessOptions
from metabench_py.calibration.select import SelectOptions
from metabench_py.calibration.settings import options_from
from metabench_py.calibration.split import SplitOptions
from metabench_py.calibration.subsample import SubsampleOptions
from metabench_py.compute import Place
from metabench_py.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class General:
    """The file's top; paths are relative to the file.

    Attributes
    ----------
    responses
        Folder of matrices, see `preprocess_folder`.
    out
        Bundle to make, or a folder of selected items where benchmarks are others than the six.
    prompts
        Folder of prompts; None: that of the responses.
    work
        Folder of finished stages; None: ``.NAME.work`` beside `out`.
    page
        Summary page; None: ``NAME.html`` beside `out`.
    benchmarks
        Take these only.
    exclude
        Bundles or item lists whose items are left out.
    name, version_label, licence, source
        What the bundle says about itself, see `Description`.
    licence_file
        Text to put into the bundle.
    """

    responses: Path | None = None
    out: Path | None = None
    prompts: Path | None = None
    work: Path | None = None
    page: Path | None = None
    benchmarks: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    name: str = ""
    version_label: str = ""
    licence: str = ""
    source: str = ""
    licence_file: Path | None = None


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Attributes
    ----------
    path
        The file.
    place
        Where it runs; no result depends on it.
    subsample, fit
        Options of the stages that may be left out; None: left out.
    """

    path: Path
    responses: Path
    out: Path
    general: General
    preprocess: PreprocessOptions
    split: SplitOptions
    subsample: SubsampleOptions | None
    fit: CrossValidationOptions | None
    select: SelectOptions
    bundle: CalibrationOptions
    place: Place

    @property
    def work(self) -> Path:
        """Folder of finished stages."""
        return self.general.work or self.out.parent / f".{self.out.name}.work"

    @property
    def page(self) -> Path:
        """Summary page."""
        return self.general.page or self.out.with_name(f"{self.out.name}.html")

    @property
    def excluded(self) -> tuple[str, ...]:
        """`exclude` with paths relative to the file; the names of bundles stay names."""
        paths = [
            (source, (self.path.parent / Path(source).expanduser()).resolve())
            for source in self.general.exclude
        ]
        return tuple(str(path) if path.exists() else source for source, path in paths)

    def settings(self) -> dict[str, Any]:
        """Give all that the result depends on, as JSON values: it goes into the bundle."""
        stages = {name: getattr(self, name) for name in _STAGES}
        given = {name: _plain(asdict(value)) for name, value in stages.items() if value is not None}
        del given["bundle"]["workers"]
        top = asdict(self.general)
        return {
            **{name: list(top[name]) for name in ("benchmarks", "exclude")},
            **given,
        }

    def description(self) -> Description:
        """Say what the bundle says about itself.

        Raises
        ------
        InputError
            The file leaves something out that a bundle needs.
        """
        top = self.general
        for name in ("name", "version_label", "licence", "source"):
            if not getattr(top, name):
                raise InputError(
                    f"{self.path}: no {name!r}, which a bundle says about itself; add it.",
                    path=str(self.path),
                    name=name,
                )
        text = None
        if top.licence_file is not None:
            try:
                text = top.licence_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{top.licence_file}: not a readable text file ({error}).",
                    path=str(top.licence_file),
                ) from error
        return Description(
            top.name, top.version_label, top.licence, top.source, text, self.settings()
        )


_NOT_ALWAYS = ("subsample", "fit")
_STAGES = ("preprocess", "split", "subsample", "fit", "select", "bundle")


def load_config(path: Path) -> RunConfig:
    """Read and check a run's file.

    Raises
    ------
    InputError
        It is no TOML, or has an unknown or unusable setting; the message names it.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error}).", path=str(path)) from error
    tables = {name: value for name, value in table.items() if isinstance(value, dict)}
    known = (*_STAGES, "compute")
    for name in tables:
        if name not in known:
            raise InputError(
                f"{path}: [{name}] is not known; known are {', '.join(known)}.",
                path=str(path),
                name=name,
            )
    general = options_from(
        General, {k: v for k, v in table.items() if k not in tables}, "", path.resolve()
    )
    for name in ("responses", "out"):
        if getattr(general, name) is None:
            raise InputError(f"{path}: no {name!r}; give a folder.", path=str(path), name=name)
    assert general.responses is not None
    assert general.out is not None

    def part(name: str, kind: type[T], without: tuple[str, ...] = ()) -> T:
        return options_from(kind, tables.get(name, {}), name, path, without=without)

    return RunConfig(
        path=path.resolve(),
        responses=general.responses,
        out=general.out,
        general=general,
        preprocess=part("preprocess", PreprocessOptions),
        split=part("split", SplitOptions),
        subsample=part("subsample", SubsampleOptions) if "subsample" in tables else None,
        fit=part("fit", CrossValidationOptions) if "fit" in tables else None,
        select=part("select", SelectOptions),
        bundle=part("bundle", CalibrationOptions, ("workers",)),
        place=part("compute", Place),
    )


def template(responses: str, out: str) -> str:
    """Write a file with every setting of every stage at its default, to be changed."""
    place = Path(out)
    work, page = place.with_name(f".{place.name}.work"), place.with_name(f"{place.name}.html")
    lines = [
        "# A run of `metabench-py calibrate run --config FILE`. Paths are relative to this file.",
        f'responses = "{responses}"',
        f'out = "{out}"',
        "# Folder of the items' prompts, which show duplicates; else that of the responses.",
        "# prompts = left out",
        "# Take these benchmarks only; else all that are there.",
        "# benchmarks = []",
        "# Bundles or item lists whose items are not to be chosen.",
        "# exclude = []",
        "# Folder of finished stages, and the summary page.",
        f'# work = "{work}"',
        f'# page = "{page}"',
        "# What the bundle says about itself.",
        'name = "my-benchmark"',
        'version_label = "1"',
        'licence = ""',
        'source = ""',
        "# Text to put into the bundle as LICENSE.md.",
        "# licence_file = left out",
        "",
    ]
    for name, kind, without in (
        ("preprocess", PreprocessOptions, ()),
        ("split", SplitOptions, ()),
        ("subsample", SubsampleOptions, ()),
        ("fit", CrossValidationOptions, ()),
        ("select", SelectOptions, ()),
        ("bundle", CalibrationOptions, ("workers",)),
        ("compute", Place, ()),
    ):
        default = kind()
        if name in _NOT_ALWAYS:
            lines.append("# Left out unless its table is there.")
        lines.append(f"# [{name}]" if name in _NOT_ALWAYS else f"[{name}]")
        for one in fields(kind):
            if one.name not in without:
                value = getattr(default, one.name)
                text = "left out" if value is None else _toml(value)
                lines.append(f"# {one.name} = {text}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{k} = {_toml(v)}' for k, v in value.items())} }}"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
