"""Checks the URL of a study's database without importing Optuna or SQLAlchemy."""

from __future__ import annotations

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.extras import install_extra


def check_url(url: str) -> None:
    """Raise `ConfigError` for an unsupported kind of database or a missing driver."""
    if not url:
        return
    scheme = url.partition("://")[0]
    if not url.startswith("postgresql"):
        raise ConfigError(
            f"sweep.storage begins with {scheme!r}; expected postgresql+psycopg://user@host/database, or nothing for a "
            "file in the sweep's folder"
        )
    driver = scheme.partition("+")[2] or "psycopg2"
    try:
        __import__(driver)
    except ImportError as error:
        raise ConfigError(
            f"sweep.storage needs {driver}, which is not installed: {install_extra('postgresql')} and write "
            "postgresql+psycopg://…"
        ) from error
