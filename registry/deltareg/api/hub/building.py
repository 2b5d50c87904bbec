"""Pushes a folder that came by commits, with the same program that everybody pushes with.

`deltareg push` runs beside the server, in a process of its own since it reads untrusted bytes,
with the committer's token and no other right. The result equals that of pushing the folder.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deltareg import errors
from deltareg.documents.json_values import is_list, is_object, parse_json
from deltareg.errors import DeltaregError, Problem, Refused, Unavailable
from deltareg.refs import LineRef
from deltareg.service.hub.base_evidence import ChosenBase
from deltareg.service.hub.committing import PushedVersion

BUILD_S = 900.0
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "SSL_CERT_FILE", "TMPDIR")
_SAID_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PushProgram:
    """Pushes folders to a server as the committer.

    Attributes:
        server: The address at which the server reaches itself.
        token: The committer's token.
        home: The home folder of the program, for it alone.
        request_id: Ties the requests of the program to the commit.
    """

    server: str
    token: str
    home: Path
    request_id: str = ""

    def __call__(
        self, folder: Path, line: LineRef, *, base: ChosenBase, message: str, newest_number: int
    ) -> PushedVersion:
        """Push a folder.

        Raises:
            Refused: The folder is no delta of the base.
            StaleRevision: The newest version of the line has another number.
            Unavailable: The program takes too long, or ends in an unexpected way.
        """
        command = [
            sys.executable,
            "-m",
            "deltareg_cli",
            "push",
            str(folder),
            str(line),
            f"--base={base.name}",
            *([f"--trained-on={base.name}"] if base.is_insisted else []),
            f"--message={message}",
            "--output",
            "json",
        ]
        try:
            ended = subprocess.run(  # noqa: S603  # ours
                command,
                env={**self._environ(), "DELTAREG_NEWEST_FOR_OTHERS": str(newest_number)},
                cwd=self.home,
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=BUILD_S,
                process_group=0,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f"{line}: the push was not done in {BUILD_S:.0f} s",
                fix=f"push it with: deltareg push PATH {line} --base {base.name}",
            ) from error
        if ended.returncode != 0:
            raise _error(ended.stderr[-_SAID_BYTES:], ended.returncode)
        return _parse_result(ended.stdout)

    def _environ(self) -> Mapping[str, str]:
        inherited = {name: os.environ[name] for name in _KEPT if name in os.environ}
        home = str(self.home)
        return inherited | {
            "HOME": home,
            "HF_HOME": home,
            "XDG_CONFIG_HOME": home,
            "OMP_NUM_THREADS": "1",
            "DELTAREG_SERVER": self.server,
            "DELTAREG_TOKEN": self.token,
            "DELTAREG_CACHE_DIR": str(self.home / "cache"),
            "DELTAREG_GOLDEN": "never",
            "DELTAREG_FOR_OTHERS": "1",
            "DELTAREG_CONFIG": str(self.home / "none.toml"),
            "DELTAREG_NO_PROGRESS": "1",
            "DELTAREG_INSECURE_HTTP": "true",  # to this server itself, or where its operator says
        }


def _parse_result(said: bytes) -> PushedVersion:
    result: object = parse_json(said)
    if not is_object(result):
        raise Unavailable("the push said nothing that is understood")
    return PushedVersion(str(result["ref"]), str(result["digest"]), str(result["kind"]))


def _error(said: bytes, status: int) -> DeltaregError:
    """Return the error that the program ended with."""
    try:  # notes may stand before it
        document: object = parse_json(said[said.index(b"{") :])
    except ValueError:
        document = None
    if not is_object(document):
        tail = said[-400:].decode("utf-8", "replace").strip()
        return Unavailable(f"the push of the commit ended with {status}: {tail}")
    message, fix = str(document.get("detail") or document.get("title")), str(document.get("fix") or "")
    problems = document.get("errors")
    items = [_problem(item) for item in problems if is_object(item)] if is_list(problems) else []
    if items:
        return Refused(items)
    return _class(str(document.get("code")))(message, fix=fix)


def _problem(item: Mapping[str, object]) -> Problem:
    texts = {name: str(item.get(name) or "") for name in ("tensor", "fix")}
    return Problem(
        str(item.get("code")),
        str(item.get("message")),
        severity="warning" if item.get("severity") == "warning" else "error",
        tensor=texts["tensor"],
        fix=texts["fix"],
    )


def _class(code: str) -> type[DeltaregError]:
    """Return the error class of a code; `InvalidInput` in place of `Refused`."""
    if code == Refused.code:
        return errors.InvalidInput
    candidates: list[type[DeltaregError]] = [DeltaregError]
    while candidates:
        cls = candidates.pop()
        if cls.code == code and cls is not DeltaregError:
            return cls
        candidates += cls.__subclasses__()
    return Unavailable
