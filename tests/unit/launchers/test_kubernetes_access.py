"""The way to a cluster: of kubectl's files, of a pod, and of an address; and of wrong ones."""

import base64
import json
import ssl
import subprocess
from pathlib import Path

import pytest

from dama.launchers.kubernetes import access
from dama.launchers.kubernetes.access import find_access
from dama.launchers.launcher import AwayError

CONFIG = """
current-context: lab
contexts:
- name: other
  context: {cluster: nowhere, user: nobody}
- name: lab
  context: {cluster: c, user: u, namespace: etl}
clusters:
- name: c
  cluster: {server: "https://cluster.example.org:6443"%s}
users:
- name: u
  user: %s
"""


@pytest.fixture
def config(tmp_path):
    """Writes a file of kubectl; returns the variables that name it."""

    def write(user: str, cluster: str = "") -> dict[str, str]:
        (tmp_path / "config").write_text(CONFIG % (cluster, user))
        return {"KUBECONFIG": f"{tmp_path / 'nothing'}:{tmp_path / 'config'}"}

    return write


def helper(folder: Path, script: str) -> str:
    path = folder / "login"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    env = "[{name: LAB, value: seven}]"
    return (
        f"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: ./login, env: {env}}}}}"
    )


def test_a_given_address_needs_no_login():
    found = find_access("http://127.0.0.1:8001", {"KUBECONFIG": "/nowhere"})
    assert (found.server, found.namespace, found.headers) == (
        "http://127.0.0.1:8001",
        "default",
        {},
    )


@pytest.mark.parametrize(
    ("user", "login"),
    [
        ("{token: abc}", "Bearer abc"),
        ("{tokenFile: token}", "Bearer of-a-file"),
        ("{username: ada, password: pw}", "Basic YWRhOnB3"),
        ("{exec}", "Bearer seven"),
        ("{}", None),
        ("", None),
    ],
)
def test_the_current_context_of_kubectl_is_used(config, tmp_path, user, login):
    (tmp_path / "token").write_text("of-a-file\n")
    if user == "{exec}":
        user = helper(tmp_path, 'printf \'{"status": {"token": "%s"}}\' "$LAB"')
    found = find_access("", config(user))

    assert (found.server, found.namespace) == ("https://cluster.example.org:6443", "etl")
    assert found.headers.get("Authorization") == login
    assert "abc" not in repr(found)


def test_certificates_are_those_of_the_file(config, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab".split()  # noqa: SIM905
    subprocess.run(
        ["openssl", *made, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    data = base64.b64encode(certificate.read_bytes()).decode()
    user = f"{{client-certificate-data: {data}, client-key: key.pem}}"

    found = find_access("", config(user, ", certificate-authority: cert.pem"))
    (authority,) = found.verify.get_ca_certs()
    assert dict(part[0] for part in authority["subject"]) == {"commonName": "lab"}
    assert found.verify.verify_mode == ssl.CERT_REQUIRED

    open_to_all = find_access("", config(user, ", insecure-skip-tls-verify: true"))
    assert open_to_all.verify.verify_mode == ssl.CERT_NONE


def test_a_pod_uses_its_own_account(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "namespace").write_text("etl")
    authority = Path(ssl.get_default_verify_paths().openssl_cafile)
    (tmp_path / "ca.crt").write_text(authority.read_text() if authority.exists() else "")
    monkeypatch.setattr(access, "IN_POD", tmp_path)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = find_access("", environ)

    assert (found.server, found.namespace) == ("https://[fd00::1]:6443", "etl")
    assert found.headers == {"Authorization": "Bearer t"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no ~/.kube/config"),
        ("- a list", "is no configuration of kubectl"),
        ("{{", "cannot be used: ParserError"),
        ("current-context: lab", "has no entry 'lab' in contexts"),
        (CONFIG % ("", "{tokenFile: gone}"), "No such file"),
        (
            CONFIG % ("", "{client-certificate-data: '%%', client-key-data: 'eA=='}"),
            "cannot be used",
        ),
        (CONFIG.replace("server:", "address:") % ("", "{}"), "KeyError: 'server'"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, said):
    if text is not None:
        (tmp_path / "config").write_text(text)
    with pytest.raises(AwayError, match=said):
        find_access("", {"KUBECONFIG": str(tmp_path / "config")})


@pytest.mark.parametrize("script", ["exit 3", "echo nonsense", 'echo "{}"'])
def test_a_login_helper_that_fails_is_said(config, tmp_path, script):
    with pytest.raises(AwayError, match=r"login helper|cannot be used"):
        find_access("", config(helper(tmp_path, script)))


def test_answers_of_a_helper_are_read_as_json(config, tmp_path):
    given = json.dumps({"status": {"token": "a-b"}})
    found = find_access("", config(helper(tmp_path, f"echo '{given}'")))
    assert found.headers == {"Authorization": "Bearer a-b"}
