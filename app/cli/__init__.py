"""The `countersign` command: it runs the desk, and does by hand what the routes do."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sys
import time
from functools import partial

import click

from app import create_app, database_url, embedded
from app.cli.runner import Command, desk, fail, log_of_commands, me, migrate, say, valid
from app.db.pooler import require_session_pooling
from app.domain.notifications import trial
from app.domain.risk_config import TradingMode
from app.domain.roles import PEOPLE_ROLES, Role
from app.lib.timestamps import rfc3339
from app.server.startup import wait_for_database
from app.services.accounts import admin, two_factor, users
from app.services.audit import log, seal
from app.services.errors import Conflict, Invalid
from app.services.notifications import apprise
from app.services.orders import transitions
from app.services.trading import config, lockouts
from app.settings import Settings, SettingsError, server_folder, shipped
from app.web.forms.trading import HaltForm, LockoutForm, ModeForm

PORT_PATIENCE = 5  # seconds: the workers of a killed server keep its port for a moment


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="countersign", message="%(package)s %(version)s")
def main() -> None:
    """Countersign: the operator's desk between trading engines and the broker."""


@main.command()
def serve() -> None:
    """Migrate the database, then serve on HOST and PORT: gunicorn, with wsgi:app and gunicorn.conf.py."""
    settings = Settings.from_environment()
    log_of_commands(settings)
    _check_port(settings)
    apprise.check(settings.notify_urls)
    database = embedded(settings) if settings.embedded else None
    if database:
        database.start()  # the lock that keeps it running passes on to gunicorn
    else:
        _require_database(settings)
    app = create_app(settings)
    with app.app_context():
        migrate(settings)
        if database and not users.any_person():
            _first_person()
    sys.stdout.flush()
    # Whoever answers requests never holds the key of the role that could alter the record.
    os.environ.pop("MIGRATION_DATABASE_URL", None)
    os.environ["INSTANCE_PATH"] = str(settings.instance)
    # gunicorn imports modules from the current folder first, where the caller may have an `app` of its own.
    os.chdir(server_folder())
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "wsgi:app"])


def _require_database(settings: Settings) -> None:
    """Wait until the databases of the settings answer, and refuse a pooler that does not pool sessions."""
    for name, url in (
        ("DATABASE_URL", settings.database_url),
        ("MIGRATION_DATABASE_URL", settings.migration_url),
    ):
        if url is not None:
            wait_for_database(url, name)
    require_session_pooling(database_url(settings))


def _check_port(settings: Settings) -> None:
    """Say so before anything is made or shown, not when gunicorn has given up."""
    deadline = time.monotonic() + PORT_PATIENCE
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    while True:
        try:
            socket.create_server((settings.host, settings.port), family=family).close()
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                problem = str(error.strerror).partition(" (")[0]
                raise SettingsError(f"HOST {settings.host}, PORT {settings.port}: {problem}") from None
        time.sleep(0.1)


def _first_person() -> None:
    password = secrets.token_urlsafe(12)
    try:
        users.add_person(me(), "admin", Role.ADMIN, password)
    except Conflict:
        return  # another first start at the same moment was quicker
    click.echo(
        "\n    This is a new desk. Sign in with\n\n"
        f"        name:     admin\n        password: {password}\n\n"
        "    The password is shown this once.\n"
    )


@main.group()
def user() -> None:
    """People who sign in."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in PEOPLE_ROLES]), required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def user_add(name: str, role: str, password_stdin: bool) -> None:
    """Create the person NAME."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _ask_password()
    with desk():
        users.add_person(me(), name, Role(role), password)
    click.echo(f"{name} can sign in as {role}.", err=True)


@user.command("list")
def user_list() -> None:
    """Everybody who can sign in, or could until they were deactivated."""
    with desk():
        for row in admin.people():
            state = "active" if row.deactivated_at is None else "deactivated"
            factor = "second factor" if row.second_factor else "password only"
            seen = rfc3339(row.signed_in_at) if row.signed_in_at else "never signed in"
            say(f"{row.name:<20}  {row.role:<8}  {state:<11}  {factor:<13}  {row.sessions:>3} open  {seen}")


@user.command("set-role")
@click.argument("name")
@click.argument("role", type=click.Choice([str(role) for role in PEOPLE_ROLES]))
def user_set_role(name: str, role: str) -> None:
    """Give the person NAME another role. Their tokens end, and the sessions of who becomes an admin.

    Prints the service accounts of theirs that were suspended or resumed by it."""
    with desk():
        _print_effects(admin.set_role(me(), name, Role(role)))
    click.echo(f"{name} is {role}.", err=True)


def _print_effects(done: admin.Effects) -> None:
    """What was suspended or resumed, one account a line, with the orders that stay at the broker below it."""
    for stopped in done.stopped:
        click.echo(f"stopped  {stopped.name:<20}  {stopped.role:<8}  {stopped.pending} pending orders canceled")
        for order in stopped.at_broker:
            size = order["qty"] or order["notional"]
            click.echo(
                f"  at the broker  {order['id']}  {order['side']} {size} {order['ticker']}  {order['status']}"
            )
    for name in done.resumed:
        click.echo(f"resumed  {name}")


@user.command("deactivate")
@click.argument("name")
def user_deactivate(name: str) -> None:
    """End every session and token of NAME at once, and let them have no others.

    Suspends the service accounts that NAME owns, cancels pending orders of theirs, and prints what stays at the
    broker."""
    with desk():
        _print_effects(admin.deactivate(me(), name))
    click.echo("deactivated", err=True)


@user.command("reactivate")
@click.argument("name")
def user_reactivate(name: str) -> None:
    """Let NAME sign in again, and resume the service accounts that were suspended for it."""
    with desk():
        _print_effects(admin.reactivate(me(), name))
    click.echo("reactivated", err=True)


@user.command("reset-password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read it from standard input, rather than have one made.")
def user_reset_password(name: str, password_stdin: bool) -> None:
    """Give NAME another password, printed this once. Their sessions end."""
    given = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    password = admin.first_password() if given is None else given
    with desk():
        admin.reset_password(me(), name, password)
    if given is None:
        click.echo(password)


@user.command("reset-second-factor")
@click.argument("name")
def user_reset_second_factor(name: str) -> None:
    """Remove the second factor of NAME, who has lost it."""
    with desk():
        admin.remove_second_factor(me(), name)
    click.echo("removed", err=True)


def _ask_password() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@main.group()
def token() -> None:
    """Credentials of scripts and engines."""


@token.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), required=True)
@click.option("--owner", help="The person whose engine this is; they never approve its orders.")
@click.option("--allow-live", is_flag=True, help="This token may switch to live trading (admins only).")
def token_add(name: str, role: str, owner: str | None, allow_live: bool) -> None:
    """Print a new token for the service account NAME, this once."""
    with desk():
        click.echo(users.add_token(me(), name, Role(role), owner=owner, allow_live=allow_live))


@token.command("list")
@click.option("--all", "also_revoked", is_flag=True, help="Also those that were revoked.")
def token_list(also_revoked: bool) -> None:
    """The tokens that hold, and when each was used last."""
    with desk():
        for row in admin.tokens():
            if row.revoked_at is None or also_revoked:
                used = f"used {rfc3339(row.last_used_at)}" if row.last_used_at else "never used"
                more = ["may go live"] * row.allow_live + [f"owner {row.owner}"] * bool(row.owner)
                if row.is_suspended:
                    more.append("suspended")
                if row.revoked_at:
                    more.append(f"revoked {rfc3339(row.revoked_at)}")
                say("  ".join([f"{row.id}  {row.name:<20}  {row.role:<8}  {used}", *more]))


@token.command("revoke")
@click.argument("token_id", metavar="ID")
def token_revoke(token_id: str) -> None:
    """End a token at once. ID is the part before the dot."""
    with desk():
        users.revoke_token(me(), token_id.partition(".")[0])
    click.echo("revoked", err=True)


@token.command("owner")
@click.argument("name")
@click.argument("person")
def token_owner(name: str, person: str) -> None:
    """Give the service account NAME to PERSON, and resume it if it is suspended."""
    with desk():
        done = admin.change_owner(me(), name, person)
        _print_effects(done)
    click.echo(f"{person} owns {name}" + (" now" if done.changed else " already"), err=True)


@main.group()
def lockout() -> None:
    """Symbols that may not be traded for a while."""


@lockout.command("add")
@click.argument("ticker")
@click.option("--reason", required=True)
@click.option("--minutes", "--duration", "--duration-minutes", "minutes", type=int, default=60, show_default=True)
@click.option("--type", "lockout_type", default="manual", show_default=True)
def lockout_add(ticker: str, reason: str, minutes: int, lockout_type: str) -> None:
    """Lock TICKER (or '*' for every symbol) out, and print the lockout's id."""
    body = {"ticker": ticker, "reason": reason, "duration_minutes": minutes, "lockout_type": lockout_type}
    form = valid(LockoutForm.from_json(body))
    with desk():
        made = lockouts.create(me(), **form.lockout())
        click.echo(str(made.id))


@lockout.command("list")
def lockout_list() -> None:
    """The active lockouts, soonest end first."""
    with desk():
        after = None
        while rows := lockouts.page(after=after, limit=200):
            for row in rows:
                ends = rfc3339(row.expires_at)
                say(f"{row.id}  {row.ticker:<21}  {row.lockout_type:<10}  {ends}  {row.created_by}  {row.reason}")
            after = (rows[-1].expires_at, rows[-1].id)


@lockout.command("remove")
@click.argument("lockout_id", metavar="ID", type=click.UUID)
def lockout_remove(lockout_id: object) -> None:
    """Remove a lockout before its end."""
    with desk():
        lockouts.remove(me(), lockout_id)  # type: ignore[arg-type]
    click.echo("removed", err=True)


class ModeCommand(click.Command):
    """`mode disabled` halts, whatever else is on the command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.UsageError as error:
            if args[:1] != [TradingMode.DISABLED]:
                raise
            click.echo(f"ignored: {error.format_message()}", err=True)
            return super().parse_args(ctx, args[:1])


@main.command(cls=ModeCommand)
@click.argument(
    "to",
    metavar="[disabled|paper|live]",
    required=False,
    type=click.Choice([str(mode) for mode in TradingMode]),
)
@click.option("--reason", help="Required for paper and live.")
def mode(to: str | None, reason: str | None) -> None:
    """Print the trading mode, or change it. `disabled` halts and needs no reason."""
    with desk(halts=to == TradingMode.DISABLED):
        present = config.trading_mode()
        if to == TradingMode.DISABLED:
            present = _halt(reason)
        elif to is not None:
            given = {"trading_mode": to, "from": str(present), "reason": reason}
            form = valid(ModeForm.from_json(given))
            change = config.change_mode(me(), TradingMode(to), leaving=present, reason=form.reason.data)
            present = change.current
        click.echo(str(present))


def _halt(reason: str | None) -> TradingMode:
    form = HaltForm.from_json({"trading_mode": str(TradingMode.DISABLED), "reason": reason})
    form.validate()
    for name, said in form.ignored.items():
        click.echo(f"{name} {', '.join(said)}", err=True)
    return config.change_mode(me(), TradingMode.DISABLED, reason=form.reason.data or None).current


@main.command("second-factor-for-live")
@click.argument("to", metavar="[off]", required=False, type=click.Choice(["off"]))
def second_factor_for_live(to: str | None) -> None:
    """Print whether going live takes a second factor (on, off), or lift that. It is asked for on the page."""
    with desk():
        if to is not None:
            config.require_second_factor_for_live(me(), False, None)
        click.echo("on" if two_factor.is_required() else "off")


@main.command()
def expire() -> None:
    """Write down which orders have expired, and print how many. They had expired before, by the clock alone."""
    with desk():
        click.echo(str(sum(iter(partial(transitions.expire_due, me()), 0))))


@main.group()
def notify() -> None:
    """Messages to people, at the addresses in NOTIFY_URLS."""


@notify.command("test")
def notify_test() -> None:
    """Send each address a message, and print which of them took it."""
    urls = Settings.from_environment().notify_urls
    if not urls:
        fail("NOTIFY_URLS is not set: nobody is told of anything")
    them = apprise.addresses(urls)
    problems = apprise.tell_at_once(them, trial)
    for address, problem in zip(them, problems, strict=True):
        say(f"{address.name}: {f'FAILED, {problem}' if problem else 'told'}")
    if any(problems):
        raise SystemExit(1)


@main.group("audit")
def audit_group() -> None:
    """The record of who did what when."""


@audit_group.command("tail")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True)
def audit_tail(count: int) -> None:
    """The latest events, oldest first, one JSON object to a line."""
    with desk():
        for _, event in reversed(log.events(limit=count, whole=True)):
            click.echo(event)


@audit_group.command("head")
def audit_head() -> None:
    """The seal of the last sealed event, as ID:HEX, to be kept where nobody of this desk can change it."""
    with desk():
        click.echo(str(seal.head()))


def _head(context: click.Context, parameter: click.Parameter, written: str | None) -> seal.Head | None:
    try:
        return seal.Head.parse(written) if written is not None else None
    except Invalid as error:
        raise click.BadParameter(" ".join(error.errors["head"])) from None


@audit_group.command("verify")
@click.option("--head", "kept", metavar="ID:HEX", callback=_head, help="What `audit head` printed once.")
def audit_verify(kept: seal.Head | None) -> None:
    """Check every sealed event; name the first that was altered, removed, inserted or reordered."""
    with desk():
        found = seal.verify(kept)
    if found.fault:
        fail(f"{found.fault}; {found.sealed} events before that are as they were sealed, up to {found.head}")
    click.echo(f"{found.sealed} events sealed and whole, {found.unsealed} not sealed yet, head {found.head}")


@main.group()
def db() -> None:
    """The database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the tables to this version."""
    settings = Settings.from_environment()
    with desk():
        if not settings.embedded:  # the embedded one is migrated whenever it is opened
            migrate(settings)
    click.echo("the database is at the newest version", err=True)


@db.command("roles")
def db_roles() -> None:
    """Print the SQL that gives the desk's role its rights: for psql, after every upgrade (docs/AUDIT.md)."""
    click.echo(shipped("deploy/roles.sql").read_text(), nl=False)
