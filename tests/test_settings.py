"""The environment: what can be used is, what cannot stops the start with one line that names it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import ClassVar

import pytest
from limits import RateLimitItem

from app.domain.control import SelfApproval
from app.domain.notifications import Kind
from app.settings import PROJECT, Settings, SettingsError
from tests.at_once import results_of

SECRET = "a secret of enough characters"
URL = "postgresql://user:pass@db.example:5433/desk"


def read(**environment: str) -> Settings:
    return Settings.from_environment(environment)


def refusal(**environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_environment_means_the_embedded_database_on_this_machine() -> None:
    settings = read()
    assert settings.embedded
    assert settings.database_url is settings.migration_url is settings.secret_key is None
    assert (settings.host, settings.port, settings.workers, settings.trusted_proxies) == ("127.0.0.1", 8000, 2, 0)
    assert settings.instance == PROJECT / "instance"


def test_empty_counts_as_unset_and_white_space_does_not_count() -> None:
    assert read(DATABASE_URL="", SECRET_KEY=" ", HOST="", PORT="", WEB_CONCURRENCY="") == read()
    assert read(PORT=" 8001 ", HOST=" ::1 ").port == 8001


def test_everything_can_be_said() -> None:
    settings = read(
        DATABASE_URL=URL,
        MIGRATION_DATABASE_URL="postgresql://owner@db.example/desk",
        SECRET_KEY=SECRET,
        HOST="0.0.0.0",
        PORT="80",
        WEB_CONCURRENCY="8",
        TRUSTED_PROXIES="1",
        INSTANCE_PATH="/srv/desk",
    )
    assert not settings.embedded
    assert settings.database_url is not None
    assert settings.database_url.render_as_string(hide_password=False) == URL.replace("://", "+psycopg://")
    assert settings.migration_url is not None
    assert settings.migration_url.username == "owner"
    assert (settings.secret_key, settings.host, settings.port) == (SECRET, "0.0.0.0", 80)
    assert (settings.workers, settings.trusted_proxies, settings.instance) == (8, 1, Path("/srv/desk"))
    assert settings.session_secret() == SECRET


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_usual_names_of_postgresql_are_understood(scheme: str) -> None:
    settings = read(DATABASE_URL=f"{scheme}:///desk?host=/run/postgresql&sslmode=require", SECRET_KEY=SECRET)
    assert settings.database_url is not None
    assert settings.database_url.drivername == "postgresql+psycopg"
    assert settings.database_url.query == {"host": "/run/postgresql", "sslmode": "require"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("u:p%2C@a,b/db", {"host": "a,b"}),
        ("u:p%2C@a:5433,b:5434/db?sslmode=require", {"host": "a,b", "port": "5433,5434", "sslmode": "require"}),
        ("u:p%2C@[::1]:5433,b/db", {"host": "::1,b", "port": "5433,"}),
        ("u:p%2C@/db?host=/run/a,/run/b", {"host": "/run/a,/run/b"}),
        ("u:p%2C@a,b/db?target_session_attrs=any", {"host": "a,b", "target_session_attrs": "any"}),
    ],
)
def test_several_hosts_are_a_primary_and_its_standbys(written: str, expected: dict[str, str]) -> None:
    url = read(DATABASE_URL=f"postgresql://{written}", SECRET_KEY=SECRET).database_url
    assert url is not None
    assert (url.username, url.password, url.database) == ("u", "p,", "db")
    assert dict(url.query) == {"target_session_attrs": "read-write"} | expected


@pytest.mark.parametrize("wrong", ["a:x,b/db", "a,b/db?no_such_thing=1", "u:hunter2@[a,b/db"])
def test_several_hosts_that_cannot_be_read_are_refused(wrong: str) -> None:
    said = refusal(DATABASE_URL=f"postgresql://{wrong}", SECRET_KEY=SECRET)
    assert said == "DATABASE_URL cannot be read as a URL"


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "sqlite:///x.db", "postgresql", "db.example", "://", "PG://x/y"]
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "MIGRATION_DATABASE_URL"])
def test_another_database_is_refused(name: str, url: str) -> None:
    environment = {"DATABASE_URL": URL, "SECRET_KEY": SECRET} | {name: url}
    assert refusal(**environment).startswith(f"{name} must begin with postgresql://")


def test_a_url_that_cannot_be_read_is_refused_without_repeating_its_password() -> None:
    said = refusal(DATABASE_URL="postgresql://user:hunter2@host:port/db", SECRET_KEY=SECRET)
    assert said == "DATABASE_URL cannot be read as a URL"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("PORT", ["abc", "0", "65536", "-1", "80.5", "8_000", "٨٠٠٠", "8000x", "1e3", "9" * 5000]),
        ("WEB_CONCURRENCY", ["0", "257", "two", "-1", "1.5"]),
        ("TRUSTED_PROXIES", ["-1", "11", "yes"]),
    ],
)
def test_a_number_that_is_none_or_out_of_range_is_refused(name: str, wrong: list[str]) -> None:
    for value in wrong:
        assert refusal(**{name: value}).startswith(f"{name} must be a whole number from ")


def test_the_bounds_themselves_are_accepted() -> None:
    for name, values in {"PORT": (1, 65_535), "WEB_CONCURRENCY": (1, 256), "TRUSTED_PROXIES": (0, 10)}.items():
        for value in values:
            read(**{name: str(value)})


def test_a_person_alone_may_approve_for_themselves_on_the_embedded_database_or_where_it_is_set() -> None:
    own = {"DATABASE_URL": URL, "SECRET_KEY": SECRET}
    assert read().self_approval is SelfApproval.ALONE
    assert read(**own).self_approval is SelfApproval.NEVER
    assert read(SELF_APPROVAL="never").self_approval is SelfApproval.NEVER
    assert read(**own, SELF_APPROVAL=" Alone ").self_approval is SelfApproval.ALONE
    for wrong in ("always", "true", "1", "alone,never"):
        assert refusal(SELF_APPROVAL=wrong) == f"SELF_APPROVAL must be one of never, alone, not {wrong!r}"


@pytest.mark.parametrize("name", ["READ_RATE", "FAILED_CREDENTIAL_RATE"])
def test_a_rate_is_so_many_in_so_long_or_off(name: str) -> None:
    def rate(text: str) -> RateLimitItem | None:
        return getattr(read(**{name: text}), name.lower())

    for text, amount, seconds in (("5/minute", 5, 60), ("10 per 2 hours", 10, 7200), (" 1/second ", 1, 1)):
        found = rate(text)
        assert found is not None
        assert (found.amount, found.get_expiry()) == (amount, seconds)
    assert rate("") is not None
    assert rate("off") is None
    for wrong in (
        "5",
        "0/minute",
        "-1/minute",
        "many",
        "5/minute;9/hour",
        "5/fortnight",
        "9999999/second",
        "1/3 days",
    ):
        assert refusal(**{name: wrong}).startswith(f"{name} must be a rate such as ")


def test_a_real_database_needs_a_secret_key() -> None:
    assert refusal(DATABASE_URL=URL) == "SECRET_KEY is required when DATABASE_URL is set"
    assert refusal(DATABASE_URL=URL, SECRET_KEY="  ") == "SECRET_KEY is required when DATABASE_URL is set"


def test_a_secret_key_that_could_be_guessed_is_warned_of() -> None:
    assert read(SECRET_KEY="x" * 15).warnings == ["SECRET_KEY is short: give it at least 16 random characters"]
    assert read(SECRET_KEY="x" * 16).warnings == read().warnings == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_the_embedded_database_serves_this_machine(host: str) -> None:
    assert read(HOST=host).host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.10", "desk.example", "127.0.0.1.example", "localhost."]
)
def test_the_embedded_database_never_serves_others(host: str) -> None:
    said = refusal(HOST=host)
    assert "HOST must be a loopback address" in said
    assert host in said
    assert read(HOST=host, DATABASE_URL=URL, SECRET_KEY=SECRET).host == host


@pytest.mark.parametrize("name", ["ALPACA_LIVE_KEY_ID", "ALPACA_LIVE_SECRET_KEY"])
def test_the_embedded_database_never_trades_live(name: str) -> None:
    said = refusal(**{name: "AK123"})
    assert said.startswith(f"{name} is set, but DATABASE_URL is not")
    assert "AK123" not in said
    both = {"ALPACA_LIVE_KEY_ID": "AK123", "ALPACA_LIVE_SECRET_KEY": "x"}
    assert not read(DATABASE_URL=URL, SECRET_KEY=SECRET, **both).embedded
    assert read(**{name: " "}).embedded


class TestAnAccountAtAlpaca:
    KEY: ClassVar = {"ALPACA_PAPER_KEY_ID": "AK123", "ALPACA_PAPER_SECRET_KEY": "a secret"}

    def test_is_there_with_both_halves_of_its_key(self) -> None:
        settings = read(**self.KEY)
        assert {*settings.alpaca} == {"paper"}
        assert settings.alpaca["paper"].url == "https://paper-api.alpaca.markets"
        assert (settings.send_within, settings.venue_patience) == (60, 10)
        assert "a secret" not in repr(settings)

    def test_is_not_there_without_a_key(self) -> None:
        assert read(ALPACA_PAPER_URL="https://alpaca.example").alpaca == {}

    @pytest.mark.parametrize("half", KEY)
    def test_is_refused_with_half_of_it(self, half: str) -> None:
        assert refusal(**{half: self.KEY[half]}).endswith("the two halves of the key belong together")

    @pytest.mark.parametrize("url", ["https://alpaca.example", "https://alpaca.example/v2/", "http://127.0.0.1:1"])
    def test_may_be_elsewhere(self, url: str) -> None:
        alpaca = read(**self.KEY, ALPACA_PAPER_URL=url).alpaca
        assert alpaca["paper"].url == url.removesuffix("/v2/")

    @pytest.mark.parametrize(
        "url", ["alpaca.example", "ftp://alpaca.example", "https://", "https://x/?a", "http://alpaca.example"]
    )
    def test_is_refused_where_its_address_makes_no_sense_or_would_show_the_key(self, url: str) -> None:
        assert refusal(**self.KEY, ALPACA_PAPER_URL=url).startswith("ALPACA_PAPER_URL must ")

    def test_has_its_stream_beside_its_api(self) -> None:
        assert read(**self.KEY).alpaca["paper"].stream_url == "wss://paper-api.alpaca.markets/stream"
        elsewhere = read(**self.KEY, ALPACA_PAPER_URL="http://127.0.0.1:1").alpaca["paper"]
        assert elsewhere.stream_url == "ws://127.0.0.1:1/stream"
        said = read(**self.KEY, ALPACA_PAPER_STREAM_URL="wss://alpaca.example/here").alpaca["paper"]
        assert said.stream_url == "wss://alpaca.example/here"

    @pytest.mark.parametrize(
        "url", ["https://alpaca.example", "wss://", "ws://alpaca.example/stream", "wss://x/?a"]
    )
    def test_is_refused_where_its_stream_makes_no_sense_or_would_show_the_key(self, url: str) -> None:
        assert refusal(**self.KEY, ALPACA_PAPER_STREAM_URL=url).startswith("ALPACA_PAPER_STREAM_URL must ")

    @pytest.mark.parametrize(
        ("name", "value"),
        [("NOTIFY_BEFORE_EXPIRY", "9"), ("SEND_WITHIN", "0"), ("VENUE_PATIENCE", "61"), ("SEND_WITHIN", "x")],
    )
    def test_times_have_bounds(self, name: str, value: str) -> None:
        assert refusal(**{name: value}).startswith(name)


class TestWhoIsTold:
    def test_nobody_by_default(self) -> None:
        settings = read()
        assert (settings.notify_urls, settings.public_url, settings.notify_before_expiry) == ((), None, 300)
        assert settings.notify_events == set(Kind)

    def test_addresses_stand_apart_as_apprise_has_them(self) -> None:
        urls = "json://a/x?to=b,c , slack://T/B/X\n\tmailto://u:p@mail.example?to=a@b.example,c@d.example"
        assert read(NOTIFY_URLS=urls).notify_urls == (
            "json://a/x?to=b,c",
            "slack://T/B/X",
            "mailto://u:p@mail.example?to=a@b.example,c@d.example",
        )

    @pytest.mark.parametrize(
        "urls",
        ["hush", "json://a hush", "json://", "://hush", "json://a json://a", "json://hush\x00", "a-b://hush"],
    )
    def test_what_is_no_address_is_refused_and_not_shown(self, urls: str) -> None:
        said = refusal(NOTIFY_URLS=urls)
        assert said.startswith("NOTIFY_URLS: ")
        assert "hush" not in said

    def test_there_are_not_too_many(self) -> None:
        assert (
            refusal(NOTIFY_URLS=" ".join(f"json://a/{n}" for n in range(11)))
            == "NOTIFY_URLS: more than 10 addresses"
        )

    def test_of_what(self) -> None:
        assert read(NOTIFY_EVENTS="halted, live order_waits").notify_events == {
            Kind.HALTED,
            Kind.LIVE,
            Kind.ORDER_WAITS,
        }
        assert refusal(NOTIFY_EVENTS="halted,everything").startswith(
            "NOTIFY_EVENTS: 'everything' is none of halted, "
        )

    def test_the_link_is_an_address_of_the_web(self) -> None:
        assert read(PUBLIC_URL="https://desk.example/").public_url == "https://desk.example"
        for wrong in (
            "desk.example",
            "ftp://desk",
            "https://",
            "https://u:p@desk",
            "https://a/?x=1",
            "http://[",
            "http://a b",
        ):
            assert refusal(PUBLIC_URL=wrong).startswith("PUBLIC_URL")


def test_a_lost_database_url_is_seen_by_the_one_for_migrations() -> None:
    assert "DATABASE_URL is not" in refusal(MIGRATION_DATABASE_URL=URL)


def test_the_instance_path_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refusal(INSTANCE_PATH=str(file)) == f"INSTANCE_PATH is not a folder: {file}"
    assert refusal(INSTANCE_PATH="~nobody-of-this-name/desk").startswith("INSTANCE_PATH: ")
    monkeypatch.chdir(tmp_path)
    assert read(INSTANCE_PATH="here").instance == tmp_path / "here"


def test_settings_never_change() -> None:
    with pytest.raises(AttributeError):
        read().port = 1  # type: ignore[misc]


class TestTheSecretThatIsKept:
    def test_it_is_made_once_and_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        settings = read(INSTANCE_PATH=str(tmp_path / "new"))
        old_mask = os.umask(0)
        try:
            secret = settings.session_secret()
        finally:
            os.umask(old_mask)
        assert len(secret) >= 64
        assert stat.S_IMODE((tmp_path / "new" / "secret_key").stat().st_mode) == 0o600
        assert settings.session_secret() == secret
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret_key"]
        assert read(INSTANCE_PATH=str(tmp_path / "other")).session_secret() != secret

    def test_many_that_start_at_once_agree_on_one(self, tmp_path: Path) -> None:
        for attempt in range(5):
            settings = read(INSTANCE_PATH=str(tmp_path / str(attempt)))
            assert len(set(results_of(*[settings.session_secret] * 12))) == 1
            assert [path.name for path in settings.instance.iterdir()] == ["secret_key"]

    def test_one_that_is_given_is_used_and_none_is_made(self, tmp_path: Path) -> None:
        assert read(INSTANCE_PATH=str(tmp_path), SECRET_KEY=SECRET).session_secret() == SECRET
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", ["", "\n", "short"])
    def test_a_file_without_a_usable_one_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "secret_key").write_text(content)
        with pytest.raises(SettingsError, match="holds no usable secret"):
            read(INSTANCE_PATH=str(tmp_path)).session_secret()

    def test_a_place_that_cannot_hold_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SettingsError, match=r"SECRET_KEY is not set and .* cannot be used: Not a directory"):
            read(INSTANCE_PATH=str(tmp_path / "file" / "below")).session_secret()
        (tmp_path / "secret_key").mkdir()
        with pytest.raises(SettingsError, match="cannot be used: Is a directory"):
            read(INSTANCE_PATH=str(tmp_path)).session_secret()
