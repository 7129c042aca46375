from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError, TrackingError
from sfpo_bench.tracking import mounts
from sfpo_bench.tracking.mlflow_store import MlflowStore, check_tracking_uri
from sfpo_bench.tracking.mounts import mount_of, network_refusal

LISTED = r"""/dev/vda / ext4 rw,relatime 0 0
tmpfs /shm tmpfs rw 0 0
server:/export /home nfs4 rw,vers=4.2 0 0
//server/share /windows\040share cifs rw 0 0
me@server: /home/me/remote fuse.sshfs rw 0 0
/dev/vdb /home/me/scratch xfs rw 0 0
server:/old /stack nfs rw 0 0
/dev/vdc /stack ext4 rw 0 0
portal /run/doc fuse.portal rw 0 0
damaged
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    file = tmp_path / "mounts"
    file.write_text(LISTED)
    return file


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/data/results/mlflow.db", "ext4", False),
        ("/home/me/results/mlflow.db", "nfs4", True),
        ("/home/me/remote/mlflow.db", "fuse.sshfs", True),
        ("/home/me/scratch/deep/mlflow.db", "xfs", False),
        ("/homework/mlflow.db", "ext4", False),
        ("/windows share/mlflow.db", "cifs", True),
        ("/stack/mlflow.db", "ext4", False),
        ("/run/doc/mlflow.db", "fuse.portal", False),
    ],
)
def test_the_deepest_and_latest_mount_decides(path: str, kind: str, network: bool, listed: Path) -> None:
    mount = mount_of(Path(path), listed)
    assert mount is not None and (mount.kind, mount.is_network) == (kind, network)
    assert (network_refusal(Path(path), listed) is not None) == network


def test_a_link_to_a_network_file_system_is_followed(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to("/home/me/results")
    refusal = network_refusal(tmp_path / "results" / "mlflow.db", listed)
    assert refusal is not None and "(nfs4)" in refusal


def test_where_the_system_lists_no_mounts_nothing_is_refused(tmp_path: Path) -> None:
    assert mount_of(tmp_path, tmp_path / "nowhere") is None
    assert network_refusal(tmp_path / "mlflow.db", tmp_path / "nowhere") is None


def test_sqlite_on_a_network_file_system_is_never_opened_and_servers_are_not_concerned(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed.write_text(f"server:/export {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(mounts, "MOUNTS", listed)
    with pytest.raises(ConfigError, match=r"network file system .* tracking=none"):
        check_tracking_uri(None, tmp_path, {})
    with pytest.raises(ConfigError, match="network file system"):
        check_tracking_uri(f"sqlite:///{tmp_path}/a.db", Path("/"), {})
    check_tracking_uri("http://127.0.0.1:5000", tmp_path, {})
    with pytest.raises(TrackingError, match="network file system"):
        MlflowStore(f"sqlite:///{tmp_path}/mlflow.db", "test", {}).find("x")
    assert not (tmp_path / "mlflow.db").exists()
