"""Secrets in texts that a person once wrote: found, so that nothing repeats them.

Nothing is cut out of a text: who finds a secret in it leaves the whole text out, and says where it
is. Too many are found rather than too few.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.drafts.literals import given_in, with_literals
from dama.drafts.secret_words import secret_among

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of the many keys (of tables, of sorting, of objects) those that are kept from others.
_KEY = (
    r"(?:api|access|account|private|(?:en|de)cryption|(?:en|de)crypt|signing|master|licen[sc]e|auth"
    r"|aes|hmac|sse[-_]?c(?:ustomer)?|copy[-_]source|shared|pre[-_]?shared|storage|app|application"
    r"|write|admin|ingest(?:ion)?|integration|subscription|deploy|cipher|crypto|bearer|service"
    r"|consumer|wallet)[-_.]?key(?!space|board|word)"
)
NAME = re.compile(
    r"(?<!COM)(?<!BY)PASS$|PASSWORD|PASSWD|PASSPHRASE|SECRET|(?<!MAX)(?<!MAX_)TOKEN(?!IZ)"
    rf"|CREDENTIAL|WEBHOOK|{_KEY}|[_-]AUTH$|[_-]PAT$"
    r"|(^|[a-z\d_-])PWD$|(^|[_-])PW$",
    re.IGNORECASE,
)
"""What a variable or an option is called that holds a secret."""
_FOLDERS = frozenset({"PWD", "OLDPWD"})  # of the shell

_WORD = (
    r"(?:password|passwd|passphrase|secret|token"
    r"|credentials?|(?:\b|[-_.]|db|user|admin|root|http|ftp|smtp|mail|key|store)(?:pass|pwd?))"
)
# A value of its own, not a reference to one; what `echo` says is one, and so is $'...'.
_VALUE = r"""(?:\$(?=')|(?:\$\(|`)\s{0,9}(?:echo|printf)\s+|(?<!\\))["']?(?![\s"'$`<>|;&)]|\\?\$)"""
_SWITCH = r"(?:true|false|yes|no|on|off|none|null|\d{1,2})(?![^\s;&|'\"])"
_FILE = (
    r"(?:file|path|dir|name|env|stdin|fd|prompt|length|policy|cache|through|type|ttl|limit|count"
    r"|budget|size|ur[li]|id|arn|endpoint|field|column|label|age|expir\w*)"
)
# What looks drawn rather than named, and is no file: letters and digits, none of them a word.
_DRAWN = r"(?=[A-Za-z+=-]{0,100}\d)(?=[\d+=-]{0,100}[A-Za-z])[A-Za-z\d+=-]{6,500}(?![\w.,:/@(\[-])"
_NO_FILE = (
    r"(?![./~]|file\w{0,5}:|[\w./-]{1,200}\.(?:pem|key|pub|json|der|p8|p12|bin|asc|gpg|txt)\b)"
)
_NO_TABLE = (  # keys that anybody may know, and those of sorting
    r"(?!\w*(?:primary|foreign|sort|partition|part|hash|range|unique|cluster\w*|join|group|order"
    r"|object|cache|row|column|index|natural|business|public|default|dist|surrogate|routing)[_-]?key)"
)
_TO_A_PROMPT = (
    r"(?:sudo\s+-\w{0,9}S|(?:docker|podman|buildah|helm registry|oc|az)\s+login|passwd|chpasswd"
    r"|smbpasswd|kinit|cryptsetup|gpg2?|openssl|su|ssh-add|keyctl|borg|restic|vncpasswd|age"
    r"|pass\s+insert|openconnect|sshfs|gh\s+auth\s+login|(?:\w+\s+){1,2}secrets?\s+(?:set|put|add|create)"
    r"|gcloud\s+secrets|vercel\s+env)\b"
)
_KINDS = {
    "an address with a password": (
        re.compile(r"://[^\s/@:\"']{0,200}:" + _VALUE + r"[^\s/@\"']{1,500}@"),
        # A key in place of a user. A short one only on the web: elsewhere users stand there.
        re.compile(r"://[\w.~+-]{20,500}:?@"),
        re.compile(
            r"https?://(?:(?=[A-Za-z_.~+-]{0,100}\d)(?=[^\s/@:]{0,100}[A-Za-z])"
            r"|(?=[^\s/@:]{0,100}token))[\w.~+-]{4,100}:?@",
            re.IGNORECASE,
        ),
        re.compile(
            r"(?<![\w/:.@-])[\w.+-]{1,60}:(?![/%])"
            + _VALUE
            + r"[^\s/@:\"']{3,200}@(?!sha\d)[A-Za-z(\[]"
        ),
        re.compile(r"\bthin:[^/\s]{1,60}/" + _VALUE + r"[^@\s]{1,200}@"),
        re.compile(r":pserver:\w{1,60}:" + _VALUE + r"[^@\s]{1,200}@"),
        re.compile(
            r"hooks\.slack\.com/\w|discord(?:app)?\.com/api/webhooks/\w|/bot\d{6,12}:\w"
            r"|webhook\.office\.com/\w|tgram://\d{6,12}:\w"
        ),
        re.compile(
            r"[?&](?:[\w-]{0,40}[-_])?(?:key|sig|signature|auth|code|session|sid|jwt|appid)="
            + _VALUE,
            re.IGNORECASE,
        ),
    ),
    "an option with a secret": (
        re.compile(
            rf"(?<![\w-])(?:--?[\w.-]{{0,40}}{_WORD}\d?(?![\w-]*{_FILE}\b)"
            rf"(?:[-_][\w-]{{0,20}})?|/(?:p|pass|password))(?:[=:]|[ \t]{{1,9}})"
            rf"{_VALUE}(?!-|{_SWITCH})",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w-])--?[\w.-]{{0,40}}{_KEY}(?![\w-]*(?:{_FILE}|id)\b)(?:[-_][\w-]{{0,20}})?"
            rf"(?:[=:]|[ \t]{{1,9}}){_VALUE}(?!-|{_SWITCH}){_NO_FILE}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w-])--{_NO_TABLE}(?:\w{{1,40}}-){{0,5}}key(?:=|[ \t]{{1,9}})[\"']?{_DRAWN}"
        ),
        re.compile(r"(?<!\S)(?:-b|--cookie)(?:=|[ \t]{0,9})[\"']?[\w.-]{1,60}=" + _VALUE),
        re.compile(
            rf"(?<![\w-])[\w.]{{1,40}}-(?:[\w.]{{1,40}}-){{0,4}}{_WORD}={_VALUE}(?!{_SWITCH})"
        ),
        re.compile(
            r"-(?:\w{1,40}-){0,4}(?:ext)?pass(?:w\w{1,6})?(?:-?(?:command|cmd|eval|file))?"
            r"[= \t][\"'<(]{1,3}(?:echo|printf)\s+" + _VALUE
        ),
        re.compile(r"sonar\.login=" + _VALUE),
    ),
    "a user with a password": (
        re.compile(
            r"(?<!\S)(?:-[A-Za-z]{0,9}[uUa]|--?[\w-]{0,20}(?:user|userpwd|auth|login|credentials?|creds)"
            r"|-E|--(?:proxy-)?cert)(?:=|[ \t]{0,9})"
            r"[\"']?(?!\d+:\d+(?!\S)|([\w-]+):(?:\1|nogroup)(?![\w-])|jdbc:)[\w.@+-]{1,100}[\"']?:(?!/)"
            + _VALUE
        ),
        re.compile(  # a key as a user without a password
            r"(?<!\S)(?:-[A-Za-z]{0,9}u|--user)(?:=|[ \t]{0,9})[\"']?"
            r"(?=[A-Za-z_-]{0,100}\d)[\w-]{6,200}:(?:[\"']|\s|$)"
        ),
        re.compile(r"\blogin\s{1,9}\S{1,100}\s{1,9}password\s{1,9}" + _VALUE),
        re.compile(r"\buserid=\w{1,60}/" + _VALUE),
        re.compile(r"\blogin\b[^|;&\n]{1,200}[ \t]-p=?" + _VALUE),
        re.compile(r"\b[uh]=[^\s,]{1,100},(?:\w=[^\s,]{1,100},){0,9}p=" + _VALUE + r"\S"),
        re.compile(r"\.logon\s{1,9}[^\s,]{1,100},\s{0,9}" + _VALUE, re.IGNORECASE),
        re.compile(r"\bftp\b[^|;&]{0,200}\buser\s{1,9}\w{1,60}\s{1,9}" + _VALUE),
        re.compile(r"\buser\s{1,9}\w{1,60}\s{1,9}" + _VALUE + r"[^|;&]{0,200}\|\s{0,9}ftp\b"),
        re.compile(r"(?:\bquote\s{1,9}|[\"'\n]|\\n)PASS\s{1,9}(?!%)" + _VALUE),
        re.compile(r"\buser\s{0,9}=\s{0,9}[\"']?\w{1,60}:" + _VALUE),
    ),
    "an authorization": (
        re.compile(
            r"\b(?:Bearer|Basic|Digest|Token)[ \t]{1,9}" + _VALUE + r"[\w.~+/=-]{3}|"
            r"\b(?:Authorization|Cookie|api-?key|-(?:Key|Token|Auth))\s{0,9}:\s{0,9}"
            r"(?!(?:Bearer|Basic|Digest|Token)\b)" + _VALUE,
            re.IGNORECASE,
        ),
    ),
    "a member with a secret": (
        re.compile(
            rf"""(?:{_WORD}|{_KEY})(?:["']\s{{0,9}}:|\s{{0,9}}:(?!(?<=\s:)'))\s{{0,9}}(?![.*\[]|[-+]\}}|\?){_VALUE}\S""",
            re.IGNORECASE,
        ),
    ),
    "a setting with a secret": (
        re.compile(
            r"\b\w{0,40}(?:secret_access_key|secret_key|session_token)\s{1,9}" + _VALUE,
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:config|consul[ \t]kv|etcdctl|dvc[ \t]remote|airflow[ \t]variables)"
            r"(?:[ \t]{1,9}(?:set|add|put|modify[ \t]{1,9}\w{1,60}|--?\w[\w-]{0,40})){0,5}"
            rf"[ \t]{{1,9}}[\"'\w./:\[\]-]{{0,100}}"
            rf"(?:{_WORD}|(?:pypi-token|http-basic|oauth)[\w.-]{{0,60}}|\b_auth)"
            rf"[\"']?[ \t]{{1,9}}{_VALUE}(?!-|{_SWITCH})",
            re.IGNORECASE,
        ),
        re.compile(
            rf"ParameterKey=\w{{0,60}}{_WORD}\w{{0,60}},ParameterValue={_VALUE}", re.IGNORECASE
        ),
        re.compile(
            r"\bsecret\b[^|;&\n]{1,300}--from-literal(?:=|[ \t]{1,9})[\"']?[\w.-]{1,100}=" + _VALUE
        ),
    ),
    "a password of a statement": (
        re.compile(
            r"\b(?:password|identified\s{1,9}by(?:\s{1,9}password)?)\s{0,9}[(=]?\s{0,9}['\\]{0,3}'"
            r"(?![\s'\\$:%{])\S|\bidentified\s{1,9}by\s{1,9}\\?[\"']?(?:values\b)?(?![\s'\"\\$:%{&])\w",
            re.IGNORECASE,
        ),
    ),
    "what a prompt is answered": (
        re.compile(
            r"\b(?:echo|printf|cat\s{0,9}<<<)(?!\w)(?![ \t]{1,9}[\"']?\$[\w{]+[\"']?[ \t]{0,9}\|)"
            rf"[^|\n]{{0,200}}\|\s{{0,9}}(?:\S{{0,100}}/)?{_TO_A_PROMPT}"
        ),
        re.compile(rf"\b{_TO_A_PROMPT}[^|\n]{{0,300}}<<<\s{{0,9}}" + _VALUE),
        re.compile(r"\bexpect\b[\s\S]{1,200}\bsend\b"),
        re.compile(
            r"\b(?:echo|printf)\b[^|;&\n>]{1,200}>{1,2}\s{0,9}"
            r"\S{0,200}(?:secret|passw|token|netrc|pgpass|my\.cnf|credential|\.key\b)"
        ),
    ),
    "a key": (
        re.compile(
            r"\b(?:gh[opsur]_\w{16}|github_pat_\w{16}|glpat-\w{8}|xox[abprs]-\w{6}|AKIA[0-9A-Z]{12})"
            r"|\beyJ[\w-]{10,500}\.eyJ|\bsk-[\w-]{16}|\bhvs\.\w{16}|\bnpm_\w{20}|\bAIza[\w-]{30}"
            r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY"
        ),
    ),
}
_ASSIGNED = re.compile(
    r"(?<![\w$-])(?P<name>[A-Za-z_][\w.]{0,99})[ \t]{0,9}[+:?]?=[ \t]{0,9}\(?"
    + _VALUE
    + rf"(?![\w.]{{1,60}}\(|{_SWITCH})(?P<first>.)",
    re.IGNORECASE,
)

# A secret that is asked for by its name.
_ASKED = re.compile(r"\bsecrets\s+versions\s+access\s[^|;&)\n]{0,300}")
_SWITCHED = re.compile(rf"{_SWITCH}|-")
_NAME_OF_KEY = re.compile(rf"^{_NO_TABLE}(?:\w{{0,99}}_)?key$", re.IGNORECASE)
_DRAWN_VALUE = re.compile(_DRAWN)


def secret_in(text: str) -> str | None:
    """What in a string looks secret, in words that do not repeat it; None for nothing.

    Args:
        text: A command, a comment, a default: anything that could be repeated.
    """
    literal = with_literals(text)
    return next(_found(text), None) or (next(_found(literal), None) if literal != text else None)


def _found(text: str) -> Iterator[str]:
    text = _ASKED.sub("", text)
    yield from (f"a value for {name}" for name, value in given_in(text) if _is_secret(name, value))
    for found in _ASSIGNED.finditer(text):
        if NAME.search(found["name"]) and not (
            found["name"].upper() in _FOLDERS and found["first"] in "/.~"
        ):
            yield f"a value for {found['name']}"
    for kind, patterns in _KINDS.items():
        if any(pattern.search(text) for pattern in patterns):
            yield kind
    if kind := secret_among(text):
        yield kind


def _is_secret(name: str, value: str) -> bool:
    """Whether a variable is called like a secret, or like any key while its value looks drawn."""
    if NAME.search(name):
        return _SWITCHED.match(value) is None and name.upper() not in _FOLDERS
    return _NAME_OF_KEY.search(name) is not None and _DRAWN_VALUE.match(value) is not None
