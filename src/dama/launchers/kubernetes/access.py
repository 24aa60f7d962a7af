"""The way to a cluster: that of the pod that this process is in, of kubectl, or an address.

It is looked up each time, because tokens are replaced while a worker runs.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from dama.launchers.launcher import AwayError
from dama.shapes import is_object

NEEDS = "Kubernetes needs httpx and PyYAML: pip install 'dama-controller[kubernetes]'"
IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HELPER_SECONDS = 30.0


@dataclass(frozen=True)
class Access:
    """How to reach a cluster.

    Attributes:
        server: Its address.
        namespace: Where jobs go unless the settings say it.
        headers: With each request; secret.
        verify: The certificates that it is held to.
    """

    server: str
    namespace: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    verify: ssl.SSLContext | bool = True


def find_access(server: str, environ: Mapping[str, str]) -> Access:
    """Find the way to the cluster.

    Args:
        server: An address that needs no login, such as that of `kubectl proxy`; "" to look.
        environ: The variables of this process.

    Raises:
        AwayError: There is none, or what describes it cannot be read; the message says what.
    """
    if server:
        return Access(server)
    if environ.get("KUBERNETES_SERVICE_HOST") and (IN_POD / "token").exists():
        return _in_pod(environ)
    for path in _config_paths(environ):
        if path.exists():
            return _of_config(path)
    raise AwayError(
        "No cluster is known here: this is no pod, and there is no ~/.kube/config; "
        "KUBECONFIG or server in the launcher's settings names one."
    )


def yaml() -> Any:
    """PyYAML.

    Raises:
        AwayError: It is not installed.
    """
    return needed("yaml")


def needed(module: str) -> Any:
    """A module of the extra.

    Raises:
        AwayError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise AwayError(NEEDS) from error


def _in_pod(environ: Mapping[str, str]) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    try:
        token = (IN_POD / "token").read_text().strip()
        verify = ssl.create_default_context(cafile=str(IN_POD / "ca.crt"))
        namespace = (IN_POD / "namespace").read_text().strip()
    except (OSError, ssl.SSLError) as error:
        raise AwayError(f"The account of this pod in {IN_POD} cannot be read: {error}.") from error
    return Access(f"https://{host}:{port}", namespace, _bearer(token), verify)


def _config_paths(environ: Mapping[str, str]) -> list[Path]:
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return named or [Path.home() / ".kube" / "config"]


def _of_config(path: Path) -> Access:
    """The current context of a file of kubectl."""
    try:
        read = yaml().safe_load(path.read_text())
        if not is_object(read):
            raise AwayError(f"{path} is no configuration of kubectl.")
        context = _named(read, "contexts", read.get("current-context"), path)["context"]
        cluster = _named(read, "clusters", context["cluster"], path)["cluster"]
        user: Mapping[str, Any] = _named(read, "users", context["user"], path)["user"] or {}
        return Access(
            cluster["server"],
            context.get("namespace") or "default",
            _login(user, path.parent),
            _trust(cluster, user, path.parent),
        )
    except (OSError, ValueError, KeyError, TypeError, ssl.SSLError, yaml().YAMLError) as error:
        raise AwayError(f"{path} cannot be used: {type(error).__name__}: {error}.") from error


def _named(config: Mapping[str, Any], kind: str, name: object, path: Path) -> Mapping[str, Any]:
    for entry in config.get(kind) or ():
        if entry.get("name") == name:
            return entry
    raise AwayError(f"{path} has no entry {name!r} in {kind}.")


def _login(user: Mapping[str, Any], base: Path) -> Mapping[str, str]:
    if helper := user.get("exec"):
        return _bearer(_asked(helper, base))
    if path := user.get("tokenFile"):
        return _bearer((base / path).read_text().strip())
    if token := user.get("token"):
        return _bearer(token)
    if "username" in user:
        login = f"{user['username']}:{user.get('password', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    return {}


def _asked(helper: Mapping[str, Any], base: Path) -> str:
    """The token that a command prints, as the clouds have them."""
    command = [helper["command"], *(helper.get("args") or ())]
    if os.sep in command[0]:
        command[0] = str(base / command[0])
    about: dict[str, Any] = {
        "apiVersion": helper.get("apiVersion"),
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    environ = {each["name"]: each["value"] for each in helper.get("env") or ()}
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environ, "KUBERNETES_EXEC_INFO": json.dumps(about)},
            capture_output=True,
            text=True,
            check=True,
            timeout=HELPER_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.SubprocessError as error:
        raise AwayError(f"The login helper {command[0]} failed: {error}.") from error
    return json.loads(done.stdout)["status"]["token"]


def _trust(cluster: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif authority := _content(cluster, "certificate-authority", base):
        context = ssl.create_default_context(cadata=authority.decode())
    certificate = _content(user, "client-certificate", base)
    key = _content(user, "client-key", base)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:  # for this user only
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _content(entry: Mapping[str, Any], key: str, base: Path) -> bytes | None:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data, validate=True)
    path = entry.get(key)
    return (base / path).read_bytes() if path else None


def _bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}
