"""Work on a Ray cluster, through `prefect-ray`: every shard of scoring is a task that a worker runs.

Ray starts a shard again whose worker died. Where no Prefect server is configured, one is started for the run, because
the tasks of workers report to one; workers on other machines need one that they reach.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from analysis.errors import CellError, one_line
from analysis.study import BaseModelSpec

RESTARTS = 3
SERVER_STARTS_WITHIN_S = 120
LOCAL = "local"


@contextmanager
def workers() -> Iterator["Cluster"]:
    """What sends work to the workers of a cluster, which is joined when there is some, and left at the end."""
    with ExitStack() as stack:
        yield Cluster(stack)


class Cluster:
    """Workers of one Ray cluster (`analysis.likelihood.backends.Workers`)."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._runner = stack, None
        self._address = ""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], spec: BaseModelSpec) -> Iterator[Any]:
        """What a function gives for each item, in their order; each call is a task on some worker.

        Raises
        ------
        CellError
            If the cluster cannot be joined, or workers died again and again.
        """
        from prefect import task
        from prefect.cache_policies import NO_CACHE

        runner = self._joined(spec)
        from prefect_ray.context import remote_options

        a_task = task(name=function.__name__, cache_policy=NO_CACHE, persist_result=False)(function)
        # A worker that holds a GPU would leave after one task, and the next would load the base model anew.
        with remote_options(num_cpus=spec.cpus, num_gpus=spec.gpus, max_retries=RESTARTS, max_calls=0):
            futures = [runner.submit(a_task, {_parameter(function): item}) for item in items]
        for future in futures:
            try:
                yield future.result()
            except CellError:
                raise
            except Exception as error:
                raise CellError(
                    f"a worker of the Ray cluster failed {RESTARTS + 1} times with base model {spec.key!r} "
                    f"({one_line(error, 160)}); if its memory did not suffice, give it more: gpus, cpus or dtype"
                ) from error

    def _joined(self, spec: BaseModelSpec) -> Any:
        if self._runner is not None and self._address == spec.address:
            return self._runner
        if self._runner is not None:
            raise CellError("the base models of a study use two Ray clusters; give them one address")
        try:
            import ray
            from prefect_ray import RayTaskRunner
        except ImportError as error:
            raise CellError("a Ray cluster needs what is installed with: pip install 'typicality[ray]'") from error
        self._serve(spec)
        own = {"num_cpus": max(os.cpu_count() or 1, int(spec.cpus)), "include_dashboard": False}
        try:
            ray.init(
                address=spec.address, log_to_driver=False, logging_level=logging.ERROR,
                **(own if spec.address == LOCAL else {}),
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError, OSError, TimeoutError) as error:
            raise CellError(f"the Ray cluster {spec.address!r} cannot be joined: {one_line(error)}") from error
        self._stack.callback(ray.shutdown)
        self._runner, self._address = self._stack.enter_context(RayTaskRunner()), spec.address
        return self._runner

    def _serve(self, spec: BaseModelSpec) -> None:
        """Have a Prefect server for the tasks to report to."""
        from prefect.server.api.server import SubprocessASGIServer
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
            get_current_settings,
            temporary_settings,
        )

        if get_current_settings().api.url is not None:
            return
        if spec.address != LOCAL:
            raise CellError(
                f"the workers of the Ray cluster {spec.address!r} report to a Prefect server, and none is configured: "
                "prefect config set PREFECT_API_URL=http://…:4200/api"
            )
        patience = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: SERVER_STARTS_WITHIN_S}
        try:
            with temporary_settings(patience):
                server = self._stack.enter_context(SubprocessASGIServer())
        except RuntimeError as error:
            raise CellError(f"a Prefect server for the Ray workers cannot be started: {one_line(error)}") from error
        self._stack.enter_context(temporary_settings({PREFECT_API_URL: server.api_url}))


def _parameter(function: Callable[..., Any]) -> str:
    """The name of a function's one parameter."""
    return function.__code__.co_varnames[0]
