"""Artifacts wherever MLflow keeps them: in a folder, in a bucket, or behind its server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tasks.registry.store import local_folder


@dataclass(frozen=True)
class ArtifactFolder:
    """The artifacts below an address; `path` in the methods is relative to it, empty for all."""

    address: str

    def find(self, path: str = "") -> list[FileInfo]:
        """Files and folders directly under `path`; none where there is nothing."""
        return list(get_artifact_repository(self.address).list_artifacts(path or None))

    def count_bytes(self, path: str = "") -> int:
        """Size of all files under a folder."""
        return sum(int(file.file_size or 0) for file in self._walk(path))

    def delete(self, path: str = "") -> None:
        """Delete a file or folder; one that is gone already is no error."""
        repository: Any = get_artifact_repository(self.address)
        repository.delete_artifacts(path or None)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine, None where they are elsewhere."""
        return local_folder(self.address)

    @property
    def is_here(self) -> bool:
        """Whether this machine can reach them: not those in a folder of another machine."""
        return self.folder is None or self.folder.exists()

    def _walk(self, path: str) -> Iterator[FileInfo]:
        for found in self.find(path):
            if found.is_dir:
                yield from self._walk(found.path)
            else:
                yield found
