from __future__ import annotations

import pytest
import requests

from mose_med.errors import ConfigError
from pipelines.infer.dicomweb import open_archive, retrieved_study

URL = "https://host/web"
USER, PASSWORD, TOKEN = (f"MOSE_MED_DICOMWEB_{name}" for name in ("USER", "PASSWORD", "TOKEN"))


def authorization(environment: dict[str, str]) -> str | None:
    """What a request would carry."""
    session = open_archive(URL, environment=environment)._client._session
    session.trust_env = False
    return session.prepare_request(requests.Request("GET", URL)).headers.get("Authorization")


def test_user_and_password_come_from_the_environment():
    assert authorization({USER: "reader", PASSWORD: "secret"}) == "Basic cmVhZGVyOnNlY3JldA=="


def test_a_token_comes_before_them():
    assert authorization({TOKEN: "t0ken", USER: "reader", PASSWORD: "secret"}) == "Bearer t0ken"


def test_without_any_it_is_left_to_the_netrc():
    assert authorization({}) is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({USER: "reader"}, f"{PASSWORD} must be set, since {USER} is: set both, or neither for ~/.netrc"),
        ({PASSWORD: "secret"}, f"{USER} must be set, since {PASSWORD} is: set both, or neither for ~/.netrc"),
    ],
)
def test_half_of_the_credentials_is_refused(environment, message):
    with pytest.raises(ConfigError, match=message) as told:
        open_archive(URL, environment=environment)
    assert "secret" not in str(told.value)


def test_a_retrieved_study_is_private_and_goes_away(monkeypatch: pytest.MonkeyPatch):
    archive = open_archive(URL, environment={})
    monkeypatch.setattr(archive, "retrieve_ct", lambda study, folder, series: (folder / "0.dcm").write_bytes(b""))
    with retrieved_study(archive, "1.2") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in folder.iterdir()] == ["0.dcm"]
    assert not folder.exists()
