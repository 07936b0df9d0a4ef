"""What is in the folder that a run is to write: looked at once, so that all who act on it act on the same facts."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gradlab.files import read_file
from gradlab.lab.checkpoints import key_of
from gradlab.lab.config import MAX_BYTES
from gradlab.lab.engines import check_available, restore, settle
from gradlab.lab.environment import environment
from gradlab.lab.schema import Config
from gradlab.lab.store import MAX_JSON, StoreError, parse_object

BEFORE_A_RUN = "environment.json"  # all that is left by a process that was killed before it wrote config.toml


@dataclass(frozen=True)
class FolderState:
    """What a folder held when it was looked at; nothing here looks again.

    Attributes
    ----------
    path : Path
    is_free : bool
        Whether there is nothing, or an empty folder, or one in which a run was about to begin.
    is_done : bool
        Whether the run in it is finished.
    config_toml, environment_json : bytes or OSError
        What is in these files, or why that cannot be read; None if there is no config.toml, so no run.
    saved : tuple of str
        The results and checkpoints in it, by their paths within the folder.
    """

    path: Path
    is_free: bool
    is_done: bool
    config_toml: bytes | OSError | None
    environment_json: bytes | OSError
    saved: tuple[str, ...]

    @property
    def is_run(self) -> bool:
        """Whether a run was begun in it."""
        return self.config_toml is not None

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What the run was begun with; StoreError if that cannot be read."""
        file = self.path / "environment.json"
        if isinstance(self.environment_json, OSError):
            raise StoreError(file, self.environment_json.strerror or str(self.environment_json))
        return parse_object(file, self.environment_json)

    def other_version(self) -> str:
        """Return which version began the run, in a sentence, if this version cannot resume it; else nothing."""
        here, begun = environment(brief=True), self.environment
        versions = [(e.get("format"), ".".join(str(e.get("gradlab")).split(".")[:2])) for e in (here, begun)]
        if versions[0] == versions[1]:
            return ""
        now, then = (f"gradlab {version}, format {number}" for number, version in versions)
        return f"it was begun by {then}; this is {now}, which cannot go on with it"

    def as_begun(self, config: Config) -> Config:
        """Give each experiment of the run the engine that it was begun with; StoreError if it does not say which."""
        try:
            return restore(config, self.environment.get("engine"))
        except ValueError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(self.path / "environment.json", str(error)) from None

    def foreign(self, config: Config) -> str:
        """Name a foreign result or checkpoint, which is of no experiment of a configuration; else nothing."""
        keys = {key_of(experiment) for experiment in config.experiments}
        return next((name for name in self.saved if Path(name).stem not in keys), "")

    def unfinished(self, config: Config) -> Config | None:
        """Return a configuration as the run here was begun with it; None if there is no run of it to resume.

        Raises
        ------
        OSError, StoreError
            If a file that decides it is damaged.
        """
        if self.config_toml is None or self.is_done:
            return None
        if isinstance(self.config_toml, OSError):
            raise self.config_toml
        if self.config_toml != config.as_toml() or self.other_version():
            return None
        begun = self.as_begun(config)
        return None if self.foreign(begun) else begun

    def settled(self, config: Config) -> tuple[Config, list[str]]:
        """Settle the engine of each experiment, as the run here was begun, if one was; see `engines.settle`.

        Raises
        ------
        EngineError
            If one is asked for, or the run was begun with one, that cannot be used here.
        """
        begun = self.unfinished(config)
        if begun is None:
            return settle(config)
        check_available(begun)
        return begun, []

    def is_open_to(self, config: Config) -> bool:
        """Whether a run of a configuration can begin here, or be resumed."""
        return self.is_free or self.unfinished(config) is not None

    def obstacle(self, config: Config) -> str:
        """Return why a configuration whose engines are settled cannot be run here; nothing if it can."""
        if self.is_open_to(config):
            return ""
        if foreign := self.foreign(config):
            return f"{foreign} is of another experiment: the data or config.toml have changed since it was begun"
        return "the folder is not empty"


def examine(path: Path) -> FolderState:
    """Look once at what is in a folder.

    What is found may not hold for long, unless nobody else can write there: `RunFolder` looks again under its lock.

    Raises
    ------
    OSError
        If it cannot be looked at.
    """
    is_folder = path.is_dir()
    names = sorted(file.name for file in path.iterdir()) if is_folder else []
    return FolderState(
        path,
        not path.exists() if not is_folder else all(name.startswith(".") or name == BEFORE_A_RUN for name in names),
        "DONE" in names,
        _content(path / "config.toml", MAX_BYTES) if "config.toml" in names else None,
        _content(path / "environment.json", MAX_JSON),
        tuple(
            str(file.relative_to(path))
            for folder in ("results", "checkpoints")
            for file in sorted(path.glob(f"{folder}/*.safetensors"))
        ),
    )


def _content(path: Path, most: int) -> bytes | OSError:
    try:
        return read_file(path, most)
    except OSError as error:
        return error


def newest_unfinished(stem: str, config: Config, parent: Path = Path("runs")) -> FolderState | None:
    """Return the newest of ``runs/STEM``, ``runs/STEM-2``, … if it is an unfinished run of this configuration that no
    process is writing."""
    from filelock import FileLock, Timeout

    taken = list(itertools.takewhile(Path.exists, _folders(stem, parent)))
    try:
        if not taken or (state := examine(taken[-1])).unfinished(config) is None:
            return None
        with FileLock(taken[-1] / ".lock").acquire(blocking=False):
            return state
    except (Timeout, OSError, StoreError):
        return None


def free_folder(stem: str, parent: Path = Path("runs")) -> Path:
    """Return ``runs/STEM``, or the first of ``runs/STEM-2``, ``runs/STEM-3``, … that does not exist."""
    return next(path for path in _folders(stem, parent) if not path.exists())


def _folders(stem: str, parent: Path) -> Iterator[Path]:
    stem = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"
    yield parent / stem
    yield from (parent / f"{stem}-{number}" for number in itertools.count(2))
