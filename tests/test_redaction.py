"""Credentials in addresses and environment variables, and the texts that may hold them."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from harness.errors import HarnessError, cause
from harness.redaction import without_credentials, without_secrets

PASSWORDS = ["s3cr3t", "s3/cr3t", "s3@cr3t", "s3:cr3t", "s3?cr3t", "s3#cr3t", "s3%cr3t", "s3@c/r3:t?x=1"]
PARTS = ("s3", "cr3t", "r3")


def parts_of(password: str) -> list[str]:
    return [password, quote(password, safe=""), *(part for part in PARTS if part in password)]


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+pymysql", "postgresql+psycopg2"])
@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("encoded", [True, False])
def test_address_without_user_and_password(scheme: str, password: str, encoded: bool) -> None:
    shown = without_credentials(
        f"{scheme}://jane:{quote(password, safe='') if encoded else password}@db.example:5432/m"
    )
    assert shown == f"{scheme}://***@db.example:5432/m"


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(
    "name", ["password", "token", "sslpassword", "access_token", "api_key", "user", "X-Amz-Signature"]
)
def test_query_of_an_address_without_secrets(name: str, encoded: bool) -> None:
    password = "s3@cr3t/:"
    value = quote(password, safe="") if encoded else password
    shown = without_credentials(f"postgresql://db.example/m?connect_timeout=5&{name}={value}&sslmode=require")
    assert shown == f"postgresql://db.example/m?connect_timeout=5&{name}=***&sslmode=require"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000",
        "http://mlflow.example/store?page=2",
        "sqlite:////home/jane@work/mlflow.db",
        "file:///home/jane@work/mlruns",
        "databricks",
        "mlruns",
    ],
)
def test_address_without_secrets_is_unchanged(address: str) -> None:
    assert without_credentials(address) == address
    assert without_secrets(address) == address


def test_a_token_alone_before_the_host_is_hidden() -> None:
    assert without_credentials("https://ghp_12345@host/x") == "https://***@host/x"


def test_text_with_addresses_keeps_all_but_the_secrets() -> None:
    text = "cannot connect to 'http://jane:s3@cr3t@host:1/x' (or to https://host/y); ask bob@example.org"
    expected = "cannot connect to 'http://***@host:1/x' (or to https://host/y); ask bob@example.org"
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WANDB_API_KEY"]
)
def test_secret_of_the_environment_is_hidden_in_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s3cr3t/+")
    for text in (str(HarnessError("login with s3cr3t/+ failed")), cause(ValueError("s3cr3t%2F%2B is wrong"))):
        assert "s3cr3t" not in text
        assert "***" in text


def test_password_of_the_tracking_uri_is_hidden_where_it_appears_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://jane:s3%40cr3t@db/m?sslpassword=0ther")
    assert without_secrets("bad password s3@cr3t, s3%40cr3t, 0ther") == "bad password ***, ***, ***"


def test_values_that_are_no_secrets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_TOKEN": "1",
        "PWD": "/work",
        "RAY_AUTH_MODE": "token",
    }.items():
        monkeypatch.setenv(name, value)
    text = "false: 1 token in /work"
    assert without_secrets(text) == text
