"""Starting a quiet Ray on this machine, or joining one that runs."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rddg_ray.errors import ConfigError

# Ray reads these when it is imported or started. The first: no usage report, ever. The second:
# a local Ray binds and connects to the loopback address only (Ray's own switch for systems
# whose firewall would ask; it does the same everywhere).
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

_MAX_FOLDER_CHARACTERS = 25
_START_ATTEMPTS = 2
_CONNECT_TIMEOUT_S = 10.0

_TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

# Without this file Ray asks the cloud's metadata addresses where it runs.
_BOOTSTRAP = "cluster_name: local\nprovider:\n  type: local\n"


@contextmanager
def ray_session(
    address: str | None = None, num_cpus: int | None = None, num_gpus: int | None = None
) -> Iterator[None]:
    """Start Ray on this machine, or join a running cluster, for the time of a `with` block.

    A local Ray opens no connection off the loopback address, writes nothing to the user's home
    folder, and ends with the block, its logs included (unless `RAY_TMPDIR` says where they go).
    A Ray that the process is already connected to is used as it is and left running.

    Args:
        address: Of a running cluster, as `ray.init` takes it (`auto` finds one on this
            machine); None starts a local one.
        num_cpus: CPUs of a local Ray; all by default.
        num_gpus: GPUs of a local Ray; all by default.

    Raises:
        ConfigError: If there is no cluster at that address, or the process is connected to
            another one.
    """
    os.environ.update(_ENVIRONMENT)
    if address is None:
        os.environ.update(_LOOPBACK)
    import ray

    if ray.is_initialized():
        _check_same_cluster(address)
        yield
        return
    if address is not None:
        _join(address)
        try:
            yield
        finally:
            ray.shutdown()
        return
    _set_up_token()
    home = Path(tempfile.mkdtemp(prefix="rddg-ray-", dir=_short_folder()))
    # A folder of its own also keeps this Ray from whoever looks for one to join.
    own = {} if "RAY_TMPDIR" in os.environ else {"_temp_dir": str(home)}
    try:
        with _home(home):
            _start(num_cpus=num_cpus, num_gpus=num_gpus, **own)
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(home, ignore_errors=True)


def _set_up_token() -> None:
    """Name a file with a token to every Ray that this process starts.

    Left alone, Ray writes a token into the home folder of its first start, remembers in this
    process that there is one, and starts a control service the second time that finds none and
    dies. What the user has set stays.
    """
    if not any(name in os.environ for name in _TOKEN_VARIABLES):
        # The mode is left to Ray, which by now may have read it.
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file())


@cache
def _token_file() -> Path:
    """Return a file that only this user reads and that goes when this process does."""
    folder = Path(tempfile.mkdtemp(prefix="rddg-token-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32), encoding="utf-8")
    return path


def _start(**options: object) -> None:
    """Start a local Ray; once more where a busy machine let a part of it come too late."""
    import ray

    for attempt in range(_START_ATTEMPTS):
        try:
            _init(address="local", include_dashboard=False, **options)
            return
        except RuntimeError:
            ray.shutdown()
            if attempt == _START_ATTEMPTS - 1:
                raise


def _short_folder() -> str:
    # Ray's sockets lie deep below its folder, and a socket's path ends at 107 characters.
    folder = tempfile.gettempdir()
    return folder if len(folder) <= _MAX_FOLDER_CHARACTERS else "/tmp"


def _join(address: str) -> None:
    host, mark, port = address.rpartition(":")
    try:
        if mark and host and "/" not in host:
            # Ray itself would try for a quarter of an hour.
            socket.create_connection(
                (host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S
            ).close()
        _init(address=address)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"address: no Ray cluster can be joined at {address!r}: {error}; leave the address "
            "out for a local Ray"
        ) from error


def _init(**options: object) -> None:
    import ray

    handlers = _signal_handlers()
    ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **options)
    for number, handler in handlers.items():
        # Ray replaces handlers; an interrupt must go on reaching whoever asked for it.
        signal.signal(number, handler)
    _quiet_ray_data()


def _signal_handlers() -> dict[int, signal._HANDLER]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM)
    return {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}


def _quiet_ray_data() -> None:
    from ray.data import DataContext

    with warnings.catch_warnings():
        # Ray warns of defaults that it sets itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        context = DataContext.get_current()
    context.enable_progress_bars = False
    # A pipeline that starves ends with an error instead of waiting for ever.
    context.execution_no_progress_timeout_s = 600
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Give processes started meanwhile a home folder of their own."""
    (folder / "ray_bootstrap_config.yaml").write_text(_BOOTSTRAP, encoding="utf-8")
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before


def _check_same_cluster(address: str | None) -> None:
    import ray

    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here):
        raise ConfigError(
            f"address {address}: this process is connected to the Ray at {here} already; call "
            "ray.shutdown() first, or leave the address out to use that one"
        )


def device_for_networks() -> str:
    """Return `cuda` in a process that Ray gave a GPU, else `cpu`."""
    import ray

    return "cuda" if ray.is_initialized() and ray.get_gpu_ids() else "cpu"
