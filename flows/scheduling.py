"""`typicality schedule`: a study run again and again, by a Prefect server."""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import available_timezones

import click
import httpx
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import DeploymentApplyError, RunnerDeployment
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from prefect.schedules import Cron, Interval, Schedule
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from analysis import __version__
from analysis.errors import StudyError, one_line
from analysis.report.words import count
from analysis.study import Study
from flows.parameters import RunParameters, built_in
from flows.run import run_study
from flows.serving import local, until_signal

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SHORTEST = timedelta(minutes=1)
# Nobody is there to run it again: half a minute, one, two and four after a failure of the network.
RETRIES = 4
# The first run of an interval has to lie ahead of the server's next look at new schedules, every five seconds.
LEAD = timedelta(seconds=15)


@dataclass(frozen=True)
class Timing:
    """When a study is run: Prefect's schedule, in words, and its first time."""

    schedule: Schedule
    words: str
    first: datetime


@dataclass(frozen=True)
class Plan:
    """What is scheduled: a study with its parameters, when, and the deployment's name."""

    study: Study
    parameters: RunParameters
    timing: Timing
    name: str


def timing(cron: str | None, every: str | None, timezone: str | None) -> Timing:
    """When to run, as the command line says.

    Parameters
    ----------
    cron, every
        Five fields such as "0 6 * * 1", or an interval such as "6h", which begins at once; one of the two.
    timezone
        IANA name in which the cron is read, and in which an interval of days keeps its hour; UTC where it is None.

    Raises
    ------
    StudyError
        If both or neither are given, or one of the three is invalid.
    """
    if timezone is not None and timezone not in available_timezones():
        raise StudyError(f"there is no timezone {timezone!r}; --timezone takes an IANA name, such as Europe/Berlin")
    if cron is not None and every is None:
        return _cron(cron, timezone or "UTC")
    if every is not None and cron is None:
        return _interval(every, timezone or "UTC")
    raise StudyError('say when the study is to run, with either --cron "0 6 * * 1" or --every 6h')


def _cron(cron: str, zone: str) -> Timing:
    try:
        if len(cron.split()) != 5:
            raise ValueError
        first = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(1))[0]
    except ValueError as error:
        raise StudyError(
            f"--cron {cron!r} names no time: it takes minute, hour, day, month and weekday, such as '0 6 * * 1'"
        ) from error
    return Timing(Cron(cron, timezone=zone), f"cron {cron} ({zone})", first)


def _interval(every: str, zone: str) -> Timing:
    found = re.fullmatch(r"(\d{1,5})\s*([smhdw])", every.strip())
    if found is None:
        raise StudyError(f"--every {every!r} is no interval: it takes a number and m, h, d or w, such as 30m, 6h or 7d")
    interval = timedelta(**{UNITS[found[2]]: int(found[1])})
    if interval < SHORTEST:
        raise StudyError(f"--every {every!r} is too short: the shortest interval is 1m, a minute")
    first = datetime.now(UTC) + LEAD
    return Timing(
        Interval(interval, anchor_date=first, timezone=zone),
        f"every {count(int(found[1]), UNITS[found[2]][:-1])}",
        first,
    )


def plan(parameters: RunParameters, when: Timing, name: str | None) -> Plan:
    """What is scheduled: the parameters hold in any working directory.

    Raises
    ------
    StudyError
        If there is no such study, it is invalid, or the name cannot be a deployment's.
    """
    study = parameters.resolve()
    if name is not None and not re.fullmatch(r"[^/%&<>]*[^/%&<>\s][^/%&<>]*", name):
        raise StudyError(f"--name {name!r} cannot name a schedule: it is empty, or has one of / % & < >")
    absolute = {"outputs": str(Path(parameters.outputs).absolute())}
    if parameters.study not in built_in():
        absolute["study"] = str(Path(parameters.study).absolute())
    return Plan(study, parameters.model_copy(update=absolute), when, name or study.name)


def require_server() -> None:
    """See that the Prefect server, which keeps schedules, is there.

    Raises
    ------
    StudyError
        If none is configured, or it does not answer.
    """
    url = get_current_settings().api.url
    remedy = (
        "start one with `prefect server start`, and name it with "
        f"`prefect config set PREFECT_API_URL={url or 'http://127.0.0.1:4200/api'}`"
    )
    if url is None:
        raise StudyError(f"a schedule needs a Prefect server, and none is configured: {remedy}")
    try:
        # Any answer will do: a server that asks for a login answers, too.
        httpx.get(f"{url.rstrip('/')}/health", timeout=10)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise StudyError(f"a schedule needs a Prefect server, and none answers at {url}: {remedy}") from error


def serve(made: Plan) -> bool:
    """Register the schedule and start its runs until a signal ends that; whether it was Ctrl-C.

    Raises
    ------
    StudyError
        If the server refuses the schedule.
    TypicalityError
        If the server goes away.
    """
    runner = Runner(name=made.name, pause_on_shutdown=False)
    try:
        deployment = runner.add_deployment(_deployment(made))
        assert isinstance(deployment, UUID)
    except (DeploymentApplyError, PrefectException, httpx.HTTPError) as error:
        raise StudyError(f"the Prefect server refused the schedule: {one_line(error)}") from error
    click.echo(f"Scheduled {run_study.name}/{made.name}: {made.timing.words}, results in {made.parameters.outputs}")
    click.echo(f"Next run: {local(made.timing.first)}")
    click.echo("Runs are started by this command, as long as it runs: Ctrl-C stops it.")
    return asyncio.run(until_signal(runner, deployment))


def _deployment(made: Plan) -> RunnerDeployment:
    deployment = run_study.to_deployment(
        made.name,
        schedule=made.timing.schedule,
        # A run takes in all that is there when it starts, so one that overruns its period leaves nothing to catch up
        # on: the run that falls due meanwhile is left out, and shown as cancelled. In a queue it would follow at once.
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        parameters={"parameters": made.parameters.model_dump(mode="json")},
        description=made.study.title or made.study.name,
        tags=["typicality", f"study:{made.study.name}"],
        version=__version__,
        paused=False,
        # A file's path would hold in one working directory only.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)
    return deployment
