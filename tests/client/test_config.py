"""Settings come from the first place that has them, and remember which it was."""

import pytest

from deltareg.client.config import DEFAULT_SERVER, KEYS, SETTINGS, ClientConfig, check_value, config_path, load_config
from deltareg.client.config_file import set_value, unset_value
from deltareg.client.quantities import parse_duration, parse_size
from deltareg.errors import InvalidInput

USER = """\
timeout = "10s"       # a remark
retries = 2
profile = "work"

[profiles.work]
timeout = "20s"
server = "https://work.example"

[profiles.home]
timeout = "40s"
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Give a way to load settings from files in a folder of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    user = tmp_path / "config.toml"

    def load(*, text=USER, project=None, environ=None, **flags):
        user.write_text(text)
        if project is not None:
            (tmp_path / "deltareg.toml").write_text(project)
        environment = {"DELTAREG_CONFIG": str(user), **(environ or {})}
        return load_config(flags=flags, environ=environment, folder=tmp_path)

    return load


def origin(loaded, key):
    return next(value.origin for value in loaded.values if value.key == key)


@pytest.mark.parametrize(
    ("given", "timeout_s", "place"),
    [
        ({"text": ""}, 30.0, "default"),
        ({"text": 'timeout = "10s"\n'}, 10.0, "config.toml"),
        ({}, 20.0, "[profiles.work]"),
        ({"profile": "home"}, 40.0, "[profiles.home]"),
        ({"environ": {"DELTAREG_PROFILE": "home"}}, 40.0, "[profiles.home]"),
        ({"project": 'timeout = "50s"\n'}, 50.0, "./deltareg.toml"),
        ({"project": 'timeout = "50s"\n', "environ": {"DELTAREG_TIMEOUT": "1m"}}, 60.0, "DELTAREG_TIMEOUT"),
        ({"environ": {"DELTAREG_TIMEOUT": "1m"}, "timeout": "70s"}, 70.0, "--timeout"),
    ],
)
def test_the_first_place_wins_and_is_named(places, given, timeout_s, place):
    loaded = places(**given)

    assert loaded.config.timeout_s == timeout_s
    assert place in origin(loaded, "timeout")


def test_defaults_are_those_of_the_class(places):
    config = places(text="").config

    plain = ClientConfig(cache_dir=config.cache_dir)
    assert config == plain
    assert config.server == DEFAULT_SERVER


def test_every_setting_can_be_given_by_its_variable(places):
    values = {
        "server": "https://x.example",
        "profile": "home",
        "cache_dir": "/cache",
        "cache_max_size": "2GB",
        "output": "yaml",
        "progress": "1",
        "concurrency": "9",
        "compression": "fast",
        "timeout": "2m",
        "retries": "0",
        "patience": "5s",
        "insecure_http": "yes",
        "golden": "never",
    }
    assert set(values) == set(KEYS)

    loaded = places(environ={s.variable: values[s.key] for s in SETTINGS})

    assert all(origin(loaded, s.key) == s.variable for s in SETTINGS)
    config = loaded.config
    assert (config.server, config.profile, str(config.cache_dir)) == ("https://x.example", "home", "/cache")
    assert (config.cache_max_bytes, config.output) == (2_000_000_000, "yaml")
    assert (config.progress, config.concurrency, config.timeout_s, config.retries) == (False, 9, 120.0, 0)
    assert (config.patience_s, config.insecure_http, config.golden) == (5.0, True, "never")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DELTAREG_TIMEOUT": "soon"}, "DELTAREG_TIMEOUT"),
        ({"DELTAREG_SERVER": "ftp://x"}, "not the address of a server"),
        ({"DELTAREG_OUTPUT": "xml"}, "not a format"),
        ({"DELTAREG_CONCURRENCY": "0"}, "from 1 to 1000"),
        ({"DELTAREG_NO_PROGRESS": "perhaps"}, "not yes or no"),
        ({"DELTAREG_PROFILE": "nobody"}, "no profile 'nobody'"),
        ({"DELTAREG_TOKEN_FILE": "/no/such/file"}, "cannot read the token file"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_with_its_place(places, environ, message):
    with pytest.raises(InvalidInput) as raised:
        places(environ=environ)

    assert message in f"{raised.value.message} {raised.value.fix}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timeot = '3s'\n", "did you mean timeout?"),
        ("token = 'drg_pat_x'\n", "deltareg auth login"),
        ("timeout = ", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_says_what_to_do(places, text, message):
    with pytest.raises(InvalidInput) as raised:
        places(text=text)

    assert message in f"{raised.value.message} {raised.value.fix}"


def test_the_token_is_not_shown_by_accident(places):
    loaded = places(environ={"DELTAREG_TOKEN": "drg_pat_secret"})

    assert loaded.config.token == "drg_pat_secret"
    assert "secret" not in repr(loaded.config)
    assert origin(loaded, "token") == "DELTAREG_TOKEN"


def test_a_token_may_come_from_a_file(places, tmp_path):
    file = tmp_path / "token"
    file.write_text("drg_pat_filed\n")

    loaded = places(environ={"DELTAREG_TOKEN_FILE": str(file)})

    assert loaded.config.token == "drg_pat_filed"
    assert "DELTAREG_TOKEN_FILE" in origin(loaded, "token")


def test_the_address_has_no_slash_at_its_end(places):
    assert places(server="https://x.example/").config.server == "https://x.example"


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (None, USER.replace('timeout = "10s"       # a remark', 'timeout = "5s"')),
        ("home", USER.replace('timeout = "40s"', 'timeout = "5s"')),
        ("new", USER + '\n[profiles.new]\ntimeout = "5s"\n'),
    ],
)
def test_setting_a_value_leaves_other_lines_alone(tmp_path, profile, expected):
    path = tmp_path / "config.toml"
    path.write_text(USER)

    set_value(path, "timeout", "5s", profile=profile)

    assert path.read_text() == expected


def test_a_new_key_goes_to_the_end_of_its_table(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(USER)

    set_value(path, "output", "json", profile="work")

    assert 'server = "https://work.example"\noutput = "json"\n\n[profiles.home]' in path.read_text()


def test_a_file_is_made_and_a_value_quoted(tmp_path):
    path = tmp_path / "deep" / "config.toml"

    set_value(path, "cache_dir", 'C:\\cache "x"')

    loaded = load_config(environ={"DELTAREG_CONFIG": str(path)}, folder=tmp_path)
    assert str(loaded.config.cache_dir) == 'C:\\cache "x"'


def test_a_linked_file_stays_a_link(tmp_path):
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_text(USER)
    link.symlink_to(real)

    set_value(link, "retries", "7")

    assert link.is_symlink()
    assert 'retries = "7"' in real.read_text()


def test_unsetting_takes_one_line_out(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(USER)

    unset_value(path, "server", profile="work")

    assert path.read_text() == USER.replace('server = "https://work.example"\n', "")
    for profile in ("work", "none"):
        with pytest.raises(InvalidInput):
            unset_value(path, "server", profile=profile)


@pytest.mark.parametrize("profile", ["a.b", "x]\n[y", "é"])
def test_a_profile_is_a_plain_name(tmp_path, profile):
    with pytest.raises(InvalidInput):
        set_value(tmp_path / "config.toml", "retries", "1", profile=profile)


def test_an_unknown_setting_is_guessed_at():
    with pytest.raises(InvalidInput) as raised:
        check_value("serverr", "x")

    assert raised.value.fix == "did you mean server?"


def test_the_file_lies_in_the_config_folder_unless_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert config_path({}) == tmp_path / "deltareg" / "config.toml"
    assert str(config_path({"DELTAREG_CONFIG": "/else/where.toml"})) == "/else/where.toml"


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("1h30m", 5400), ("90d", 7_776_000), ("250ms", 0.25), ("5", 5), ("1.5m", 90)]
)
def test_durations(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "3 s", "-1s", "s", "1y"])
def test_no_durations(text):
    with pytest.raises(InvalidInput):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("50GB", 50_000_000_000), ("512MiB", 536_870_912), ("1.5k", 1500), ("2 TB", 2 * 10**12)],
)
def test_sizes(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "much", "-1", "1PB"])
def test_no_sizes(text):
    with pytest.raises(InvalidInput):
        parse_size(text)
