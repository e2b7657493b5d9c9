"""The settings of an edge: what may be said, in which words, and what is said when it is wrong."""

import dataclasses
import pickle

import pytest
from hypothesis import given, strategies as st

from samovar import SamovarError
from samovar.edge.admin.told import TOKEN_VARIABLE, EdgeSettings, read_config, settings
from samovar.edge.admin.words import Place, SettingError, Upstream

ORIGIN = "http://127.0.0.1:9000"
SECRET = "a-secret-of-enough-letters"


def wrong(**words):
    with pytest.raises(SettingError) as caught:
        EdgeSettings(**{"origin": ORIGIN, **words})
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, SamovarError)
    return caught.value


@pytest.mark.parametrize("text, tls, host, port, shown", [
    ("http://127.0.0.1:9000", False, "127.0.0.1", 9000, "http://127.0.0.1:9000"),
    ("https://Origin.Example", True, "origin.example", 443, "https://origin.example"),
    ("http://[::1]:8080/", False, "::1", 8080, "http://[::1]:8080"),
    ("HTTP://a", False, "a", 80, "http://a"),
])
def test_origin_is_read_from_its_url(text, tls, host, port, shown):
    origin = EdgeSettings(origin=text).origin
    assert origin == Upstream(tls, host, port) and str(origin) == shown


@pytest.mark.parametrize("text", [
    "", "127.0.0.1:9000", "ftp://a", "http://", "http://a:99999", "http://a:0", "http://a b", "http://a/path", "http://a?x",
    "http://a#x", "http://a?", "http://[::1", "http://a\r\nX: y", "http://-a", "http://a:port", 7, ["http://a"],
])
def test_origin_that_is_no_server_is_refused_by_name(text):
    assert wrong(origin=text).word == "origin"


def test_origin_with_a_password_is_refused_without_showing_it():
    error = wrong(origin="http://me:hunter2@a")
    assert error.word == "origin" and "hunter2" not in str(error)


def test_origin_must_be_given_at_all():
    with pytest.raises(SettingError, match="origin must be given"):
        EdgeSettings()


@pytest.mark.parametrize("text, place", [
    ("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:0", ("::1", 0)), (":80", ("0.0.0.0", 80)),
    ("edge.local:1", ("edge.local", 1)),
])
def test_listen_is_read_from_host_and_port(text, place):
    listen = EdgeSettings(origin=ORIGIN, listen=text).listen
    assert listen == Place(*place) and EdgeSettings(origin=ORIGIN, listen=str(listen)).listen == listen


@pytest.mark.parametrize("word, values", {
    "listen": ["", "8080", "a", "a:", "a:65536", "::1:80", "[::1]", "a:-1", "a b:1", 80],
    "maxweight": ["", "0", "-1", "1PB", "GB", "1e9", 0, 1.5, True, "9" * 30],
    "workers": [0, 257, "two", True, 1.0, "1.0"],
    "ttl": ["soon", 0, -1, "inf", float("inf"), True],
    "grace": ["-1", float("nan"), None],
    "disconnected": ["1.5s", "x"],
    "heuristic_share": ["1.1", "ten", True, -0.1, None],
    "set_cookie": ["store", None, 1],
    "obey_client": ["yes", 1, None],
    "keyed": [["a b"], "x:y", 7, [7]],
    "name": ["", "7up", "sam ovar", "a\r\nb", None],
    "max_upload": ["many", 0, None],
    "reserved": [".samovar", "/", "/a", "/../", "/a//", "/a b/", "/%2e/", None],
    "token": ["short", "with a space in it ok", "ünïcödé-sechzehn!!", 7, "\n" * 40],
    "admin_hosts": ["a b", ["a/b"]],
    "scheme": ["ftp"],
    "spill_dir": ["", 7, "a\0b"],
    "access_log": ["", 7],
}.items())
def test_wrong_value_is_refused_by_the_name_of_its_word(word, values):
    for value in values:
        error = wrong(**{word: value})
        assert error.word == word and str(error).startswith(f"{word} must be"), value


_ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5),
                      st.lists(st.text(max_size=5), max_size=3), st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
                      st.sampled_from(["1GB", "5m", ":80", "http://a", "[::1]:0", "a,b", "/x/", "a" * 20, "-", "0", "1"]))


@given(st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(EdgeSettings)]), _ANYTHING, max_size=6))
def test_any_values_are_settings_or_an_error_that_names_its_word(words):
    try:
        edge = EdgeSettings(**{"origin": ORIGIN, **words})
    except SettingError as error:
        assert error.word in {field.name for field in dataclasses.fields(EdgeSettings)}
        assert str(error).startswith(f"{error.word} ")
    else:
        assert dataclasses.replace(edge) == edge and edge.policy() is not None  # what was read is read again as it is


def test_sizes_and_times_are_read_as_people_write_them():
    edge = EdgeSettings(origin=ORIGIN, maxweight="1GB", max_body="10 MiB", ttl="1h30m", workers="3", max_tags="0",
                        first_byte_timeout=2, keyed="X-Forwarded-Proto, accept-language", disconnected="2d")
    assert (edge.maxweight, edge.max_body, edge.ttl, edge.workers, edge.max_tags) == (10**9, 10 * 2**20, 5400.0, 3, 0)
    assert edge.keyed == ("x-forwarded-proto", "accept-language") and edge.worker_weight == 10**9 // 3
    assert edge.disconnected == 172_800 and isinstance(edge.disconnected, int)


def test_words_that_contradict_each_other_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    assert wrong(shield=ORIGIN).word == "shield"
    assert wrong(tls_cert="a.pem").word == "tls_key" and wrong(tls_key="a.pem").word == "tls_cert"
    assert wrong(token=SECRET, token_file=secret).word == "token_file"
    assert wrong(admin="127.0.0.1:8080").word == "admin"
    assert wrong(maxweight=1, workers=2).word == "maxweight"
    assert wrong(purge_also=["http://shield"]).word == "purge_also"
    EdgeSettings(origin=ORIGIN, listen="127.0.0.1:0", admin="127.0.0.1:0")  # two free ports


def test_policy_is_told_what_the_words_say():
    edge = EdgeSettings(origin=ORIGIN, name="tula", ttl=60, negative_ttl=5, grace=10, set_cookie="rfc", obey_client=False,
                        keyed=["accept-language"], max_variants=4, hit_for_miss=0, disconnected=7, heuristic_share=0,
                        heuristic_cap=9, tag_fields=["x-tag"], targets=[], max_tags=3, max_ranges=2)
    policy = edge.policy()
    fresh = policy.fresh
    assert (fresh.ttl, fresh.negative_ttl, fresh.stale_while_revalidate, fresh.stale_if_error) == (60, 5, 10, 10)
    assert (policy.name, policy.set_cookie, policy.obey_client) == ("tula", "rfc", False)
    assert policy.keyed == (b"accept-language",)
    assert (policy.max_variants, policy.hit_for_miss, policy.disconnected, policy.tag_fields) == (4, 0, 7, (b"x-tag",))
    assert (policy.targets, policy.max_tags, policy.max_ranges, policy.heuristic_cap) == ((), 3, 2, 9)
    assert policy.heuristic_share == 0
    assert dataclasses.replace(edge, stale_if_error="1h").policy().fresh.stale_if_error == 3600


def test_scheme_of_clients_is_that_of_the_listener_unless_said():
    assert EdgeSettings(origin=ORIGIN).client_scheme == "http"
    assert EdgeSettings(origin=ORIGIN, tls_cert="a", tls_key="b").client_scheme == "https"
    assert EdgeSettings(origin=ORIGIN, scheme="https").client_scheme == "https"


def test_shield_is_asked_before_the_origin():
    edge = EdgeSettings(origin=ORIGIN, shield="http://shield:8080")
    assert list(map(str, edge.upstreams)) == ["http://shield:8080", ORIGIN]
    assert list(map(str, EdgeSettings(origin=ORIGIN).upstreams)) == [ORIGIN]


def test_token_is_never_shown(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    for edge in (EdgeSettings(origin=ORIGIN, token=SECRET), EdgeSettings(origin=ORIGIN, token_file=secret)):
        assert edge.token == SECRET and SECRET not in repr(edge) and SECRET not in str(edge)
    secret.write_text("too-short-🙂", encoding="utf-8")
    assert "too-short" not in str(wrong(token_file=secret)) and "too-short" not in str(wrong(token="too-short"))
    assert wrong(token_file=tmp_path / "absent").word == "token_file"


def test_settings_travel_to_other_processes_whole():
    edge = EdgeSettings(origin=ORIGIN, token=SECRET, admin="[::1]:9", keyed=["a"])
    assert pickle.loads(pickle.dumps(edge)) == edge and pickle.loads(pickle.dumps(wrong(ttl=0))).word == "ttl"


def test_config_file_says_the_same_words(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text('origin = "http://a"\nmax-body = "1MB"\nmax_tags = 7\nkeyed = ["a", "b"]\nobey-client = false\n'
                    'ttl = 1.5\n')
    edge = settings({}, file, {})
    assert (edge.max_body, edge.max_tags, edge.keyed, edge.obey_client, edge.ttl) == (10**6, 7, ("a", "b"), False, 1.5)
    assert settings({"max_tags": "9"}, file, {}).max_tags == 9  # the command line has the last word


@pytest.mark.parametrize("text, complaint", [
    ('orign = "http://a"', "has a word that there is not: 'orign'; did you mean 'origin'?"),
    ('zzz = 1', "has a word that there is not: 'zzz'"),
    ('max-tags = 1\nmax_tags = 1', "has 'max_tags' twice"),
    ('[edge]\norigin = "http://a"', "has a word that there is not: 'edge'"),
    ('origin = ', "is no TOML"),
    ('a = 1\na = 2', "is no TOML"),
])
def test_config_file_that_is_wrong_says_what(tmp_path, text, complaint):
    file = tmp_path / "edge.toml"
    file.write_text(text)
    with pytest.raises(SettingError) as caught:
        read_config(file)
    assert caught.value.word == "config" and complaint in str(caught.value)


def test_config_file_that_cannot_be_read_says_so(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "bytes"):
        with pytest.raises(SettingError, match="config (cannot be read|is no TOML)"):
            read_config(path)


def test_token_comes_from_the_nearest_that_says_one(tmp_path):
    other, file, secret = "another-secret-of-letters", tmp_path / "edge.toml", tmp_path / "secret"
    secret.write_text("third-secret-of-letters")
    file.write_text(f'origin = "http://a"\ntoken = "{SECRET}"\n')
    around = {TOKEN_VARIABLE: other}
    assert settings({"origin": ORIGIN}, None, around).token == other
    assert settings({}, file, around).token == SECRET
    assert settings({"token_file": secret}, file, around).token == "third-secret-of-letters"
    assert settings({"token": other}, file, {}).token == other
    assert settings({"origin": ORIGIN}, None, {TOKEN_VARIABLE: ""}).token is None


def test_reading_without_a_token_is_open_on_this_machine_only():
    assert EdgeSettings(origin=ORIGIN, admin="127.0.0.1:9001").open_admin
    assert not EdgeSettings(origin=ORIGIN, admin=":9001").open_admin
    assert not EdgeSettings(origin=ORIGIN, admin="127.0.0.1:9001", token=SECRET).open_admin
    assert not EdgeSettings(origin=ORIGIN).open_admin
