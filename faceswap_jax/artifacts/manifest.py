"""An artifact: a folder with a generator in one or more formats, and a manifest that says what it is.

    artifact.json           the manifest
    README.md               the same for people
    config.json             the config of the run, with what it trained
    weights.safetensors     the weights; with the config they are the archive, which the code of the task reads
    decode.FORMAT, ...      a program of each function, in each of the other formats
    vectors/, control.json  what was learned of the run's latents

The manifest has the sha256 of every file and of itself, what the generator says of itself, and how far the formats are
from the checkpoint. This file imports no JAX.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from faceswap_jax.errors import InputError
from faceswap_jax.files import read_versioned, readable, write_json
from faceswap_jax.inference.described import Description

MANIFEST = "artifact.json"
CARD = "README.md"
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"

VERSION = 2
"""Of the manifest. Since 2 it always has roles."""

SAFETENSORS, STABLEHLO, ONNX = "safetensors", "stablehlo", "onnx"
FORMATS = (SAFETENSORS, STABLEHLO, ONNX)
PRECISIONS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Artifact:
    """The manifest.

    Attributes:
        made: when, in UTC.
        by: versions of the software that made it.
        task: of the run.
        digest: of the checkpoint's weights, see `Generator.digest`.
        precision: type of the stored weights, one of `PRECISIONS`.
        description: what the generator says of itself.
        formats: what is to be known of each format, by name.
        parity: largest difference of each format from the checkpoint, by format and function.
        files: sha256 of every other file, by name.
        sha256: of what the stored manifest says; "" before it is stored.
    """

    made: str
    by: Mapping[str, str]
    task: str
    digest: str
    precision: str
    description: Description
    formats: Mapping[str, Mapping[str, Any]]
    parity: Mapping[str, Mapping[str, float]]
    files: Mapping[str, str]
    sha256: str = ""

    @property
    def version(self) -> str:
        """Which artifact it is, 16 hexadecimal digits: of all that the manifest says."""
        return (self.sha256 or _digest(self._content()))[:16]

    def save(self, folder: Path) -> None:
        """Writes the manifest."""
        content = self._content()
        head = {"version": VERSION, "sha256": _digest(content)}
        write_json(folder / MANIFEST, head | content)

    def _content(self) -> dict[str, Any]:
        content = dataclasses.asdict(self)
        del content["sha256"]
        return content

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The manifest of an artifact.

        Raises:
            InputError: there is none, or it is damaged or newer than this program.
        """
        path = folder / MANIFEST
        if not is_artifact(folder):
            raise InputError(
                f"'{folder}' holds no artifact, or may not be read; give the folder that was --output of "
                "'faceswap export'."
            )
        try:
            content = read_versioned(path, VERSION)
            told = content.pop("sha256")
            if told != _digest(content):
                raise ValueError("it was changed after the export")
            content["description"] = Description(**content["description"])
            return cls(**content, sha256=told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error}); export the run again.") from error

    def check(self, folder: Path, names: Iterable[str]) -> None:
        """Raises InputError unless these files are those that were exported."""
        for name in names:
            path = folder / name
            if name not in self.files or not os.path.isfile(path):
                raise InputError(f"'{folder}' lacks {name}; copy the artifact again, or export it.")
            if sha256(path) != self.files[name]:
                raise InputError(
                    f"{path} is not the file that was exported (its sha256 differs from {MANIFEST}); "
                    "copy the artifact again, or export it."
                )

    def programs(self) -> list[str]:
        """Names of the programs that formats other than the archive have, see `artifacts.programs`."""
        described = self.description
        names = ["encode", "decode"] if described.parts else ["images"]
        names += described.roles or ["identity"] * described.by_pictures
        return names + ["sample"] * (described.drawn > 0)

    def learned(self) -> list[str]:
        """Names of the vectors and of the control."""
        return [
            name for name in self.files if name.startswith("vectors/") or name == "control.json"
        ]

    def files_of(self, kind: str) -> list[str]:
        """Names of the files of a format."""
        if kind == SAFETENSORS:
            return [CONFIG, WEIGHTS]
        programs = [name for name in self.files if f".{kind}" in name]
        # Programs of StableHLO are given the weights.
        return programs + [WEIGHTS] * (kind == STABLEHLO)


def is_artifact(folder: Path) -> bool:
    """Whether a folder holds an artifact."""
    return os.path.exists(folder / MANIFEST)


def digests_of(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder but the manifest, by its name in there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            found[name] = sha256(path)
    return found


def sha256(path: Path) -> str:
    """Of a file; raises InputError if it cannot be read."""
    with readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    """The sha256 of what a manifest says."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
