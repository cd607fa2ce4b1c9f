"""What a monitor reads: the desk's own figures, and what the processes of this server count."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import psycopg
from flask import Blueprint, Flask, Response, current_app, request
from gevent import Timeout, monkey
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from sqlalchemy.exc import SQLAlchemyError

from app.domain.gate import ReasonCode
from app.lib import metrics
from app.lib.outages import OutageLog
from app.lib.single_flight import SingleFlight
from app.services.reporting import metrics as figures
from app.services.reporting.metrics import Figures, Tally
from app.settings import Settings
from app.web.http.errors import Refusal
from app.web.security.auth import CHALLENGE

log = logging.getLogger(__name__)
blueprint = Blueprint("metrics", __name__)

WITHIN = 4.0  # seconds: Prometheus waits ten, and the rest of the figures is for telling
COUNT_FOR = 2.0  # seconds, where very much was decided since somebody asked last
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
# By what an order that waits is decided; the gate's own words are the other outcomes.
LATER = ("approved", "rejected", "canceled", "expired")

Asked = tuple[Figures | None, Tally]


@blueprint.get("/metrics")
def get_metrics() -> Response:
    """For Prometheus. It answers with what it has where the database does not."""
    _require_monitor()
    asked: Asked = current_app.extensions["figures"]()
    text, kind = metrics.exposition(Desk(*asked), request.headers.get("Accept", ""))
    return Response(text, content_type=kind)


def _require_monitor() -> None:
    """Whoever shows METRICS_TOKEN; where none is set, only this machine itself. A proxy in front, which is this
    machine too, speaks for others and says so. No account is asked for: to look it up would take the database.
    """
    token: str | None = current_app.config["METRICS_TOKEN"]
    if token is None:
        if not _is_here(request.environ) or any(name in request.headers for name in FORWARDED):
            raise Refusal(
                HTTPStatus.FORBIDDEN, "metrics are for this machine alone, as long as METRICS_TOKEN is not set"
            )
        return
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), token.encode()):
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "send the METRICS_TOKEN of this server: Authorization: Bearer METRICS_TOKEN",
            headers=CHALLENGE,
        )


def _is_here(environ: dict[str, object]) -> bool:
    """Whether who is connected to this process is on this machine, whatever headers say of others."""
    before: object = environ.get("werkzeug.proxy_fix.orig", environ)
    address = before.get("REMOTE_ADDR") if isinstance(before, dict) else None
    try:
        return ipaddress.ip_address(str(address)).is_loopback
    except ValueError:
        return False


class Desk(Collector):
    """The figures of the desk as Prometheus wants them: the same whichever process or machine is asked."""

    def __init__(self, now: Figures | None, tally: Tally) -> None:
        self._now = now
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        yield _gauge("database_up", "Whether the database answered.", float(self._now is not None))
        yield from self._decisions()
        if self._now is not None:
            yield from _standing(self._now)

    def _decisions(self) -> Iterator[Metric]:
        # What is there from the beginning, at nothing, has an increase when it comes to be one.
        codes = [code.value for code in ReasonCode]
        usual = {("released", ""): 0, ("pending_approval", ""): 0, **{(outcome, ""): 0 for outcome in LATER}}
        blocked = {("blocked", code): 0 for code in codes}
        yield _counter(
            "decisions",
            "Decisions of the gate (released, blocked, pending_approval), and later ones of what waited or was"
            " not sent yet (approved, rejected, canceled, expired), by the first reason.",
            ("outcome", "reason"),
            usual | blocked | figures.of_kind(self._tally, "decisions"),
        )
        for kind, name, label, words, known in (
            ("reasons", "block_reasons", "reason", "Reasons for which orders were blocked, all of each.", codes),
            ("modes", "mode_changes", "to", "Changes of the trading mode; to disabled is a halt.", figures.MODES),
            ("venue", "venue_reports", "status", "What venues said became of orders, by status.", ()),
        ):
            found = {(outcome,): number for (outcome, _), number in figures.of_kind(self._tally, kind).items()}
            yield _counter(name, words, (label,), {(word,): 0 for word in known} | found)
        yield _time_to_decision(self._tally)


def _standing(now: Figures) -> Iterator[Metric]:
    yield _gauge("waiting_orders", "Orders that wait for a person.", now.waiting)
    yield _gauge(
        "oldest_waiting_order_age_seconds", "For how long the oldest of them has waited.", now.oldest_waits_for
    )
    if now.next_expiry is not None:
        yield _gauge("next_expiry_seconds", "Until the first of them expires.", now.next_expiry)
    yield _gauge("config_valid", "Whether the stored configuration can be read.", float(now.config_is_valid))
    yield _gauge("active_lockouts", "Lockouts that hold.", now.lockouts)
    yield _gauge(
        "undelivered_notices", "What people are still to be told, counted for each receiver.", now.undelivered
    )
    yield _gauge(
        "oldest_undelivered_notice_age_seconds",
        "For how long a receiver has not taken the oldest of it.",
        now.undelivered_for,
    )
    yield _gauge("record_unsealed_seconds", "The age of the oldest event that has no seal yet.", now.unsealed_for)
    modes = GaugeMetricFamily("countersign_trading_mode", "1 for the mode that trading is in.", labels=["mode"])
    for mode in figures.MODES:
        modes.add_metric([mode], float(mode == now.mode))
    yield modes
    bound = GaugeMetricFamily(
        "countersign_venue_orders",
        "Orders on their way to a venue (released: not sent yet; unknown: a person must look), or open there.",
        labels=["status"],
    )
    for status in figures.AT_VENUE:
        bound.add_metric([status], now.at_venue.get(status, 0))
    yield bound


def _time_to_decision(tally: Tally) -> Metric:
    family = HistogramMetricFamily(
        "countersign_time_to_decision_seconds",
        "For how long orders waited, by what they came to.",
        labels=["outcome"],
    )
    bounds = [*map(floatToGoString, figures.WAITED), "+Inf"]
    for outcome in LATER:
        *slots, seconds = tally.waited.get(outcome, [0.0] * (len(bounds) + 1))
        upto, buckets = 0.0, []
        for bound, number in zip(bounds, slots, strict=True):
            upto += number
            buckets.append((bound, upto))
        family.add_metric([outcome], buckets, seconds)
    return family


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"countersign_{name}", words, value=value)


def _counter(name: str, words: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"countersign_{name}", words, labels=labels)
    for labelled, value in values.items():
        family.add_metric(labelled, value)
    return family


class Reader:
    """Asks the database, and keeps for all processes what was counted so far."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._outage = OutageLog(log, "there are no figures of the desk")
        self._kept = metrics.Shared("decisions")

    def __call__(self) -> Asked:
        # A database that hangs would keep a connection of the server for as long as it does.
        alarm = Timeout(WITHIN) if monkey.is_module_patched("socket") else nullcontext()
        try:
            with self._app.app_context(), alarm, figures.asking() as connection:
                now = figures.look(connection)
                self._count(connection)
                self._outage.succeeded()
                return now, self._tally()[1]
        except (psycopg.Error, SQLAlchemyError) as error:
            self._outage.failed(error)
        except Timeout as rung:
            if rung is not alarm:
                raise
            self._outage.failed(f"the database did not answer within {WITHIN:g} seconds")
        return None, self._tally()[1]

    def _count(self, connection: psycopg.Connection) -> None:
        until, more = time.monotonic() + COUNT_FOR, True
        while more and time.monotonic() < until:
            version, tally = self._tally()
            counted, more = figures.count(connection, tally)
            if counted != tally:
                # Where another process was quicker, what it has counted is not counted again.
                self._kept.replace(version, asdict(counted))

    def _tally(self) -> tuple[int, Tally]:
        version, kept = self._kept.read()
        return version, Tally(**kept) if kept else figures.NOTHING


def register(app: Flask, settings: Settings) -> None:
    app.config["METRICS_TOKEN"] = settings.metrics_token
    app.extensions["figures"] = SingleFlight(Reader(app))
    app.register_blueprint(blueprint)
