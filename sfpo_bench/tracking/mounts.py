"""Detects network file systems, on which sqlite's locks do not work and databases become corrupted.

Uses /proc/mounts, that is Linux only; elsewhere nothing is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/mounts")
# Remedy if an sqlite file must not be used where it is.
ELSEWHERE = "set MLFLOW_TRACKING_URI=sqlite:////LOCAL/FOLDER/mlflow.db, or train with tracking=none"

# Names used by the kernel. FUSE file systems have their own name after a dot.
_NETWORK = re.compile(
    r"afs|beegfs(_nodev)?|ceph|cifs|coda|davfs|glusterfs|gpfs|lustre|ncpfs|nfs4?|orangefs|panfs|pvfs2|smb[23]?|smbfs|wekafs"
)
_NETWORK_FUSE = re.compile(r"fuse\..*(sshfs|ceph|gluster|s3|gcs|rclone|dav|juicefs|nfs|smb|blobfuse|goofys|curlftpfs)")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount point and the type of its file system."""

    place: Path
    kind: str

    @property
    def is_network(self) -> bool:
        return bool(_NETWORK.fullmatch(self.kind) or _NETWORK_FUSE.match(self.kind))


def mount_of(path: Path, mounts: Path | None = None) -> Mount | None:
    """Return the mount that contains `path`, which need not exist; None if the system does not list mounts."""
    whole = path.resolve()
    found = [mount for mount in _listed(mounts or MOUNTS) if whole.is_relative_to(mount.place)]
    # Of two mounts at one place the later hides the earlier; `max` returns the first of equal items.
    return max(reversed(found), key=lambda mount: len(mount.place.parts), default=None)


def network_refusal(database: Path, mounts: Path | None = None) -> str | None:
    """Return why the sqlite file `database` must not be used, or None if it may be."""
    mount = mount_of(database, mounts)
    if mount is None or not mount.is_network:
        return None
    return (
        f"the tracking store {database} lies on {mount.place}, a network file system ({mount.kind}): sqlite's locks do "
        "not hold there and the database would be damaged; expected a local disk or the address of an MLflow server"
    )


def _listed(mounts: Path) -> Iterator[Mount]:
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(" ")
        if len(fields) >= 3:
            yield Mount(Path(_unescaped(fields[1])), fields[2])


def _unescaped(field: str) -> str:
    """Decode octal escapes of blanks, tabs, newlines and backslashes: `a\\040b` is `a b`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
