"""The Unix socket of a server: where it lies and who may open it. Its client is ``unix_client``.

Permissions are the only guard: whoever can open the socket is the owner of the service.
"""

import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

#: a Unix socket's path must fit into sun_path, 104 bytes on the strictest system; some are left for the final zero
LONGEST = 100
NAME = "backstage.sock"


def socket_path(data_dir: Path) -> Path:
    """Where the server of ``data_dir`` listens, the same for everyone who asks.

    Inside ``data_dir`` if the path is short enough for a socket, else in a directory of the user's own under the
    system's temporary one, which is made here. Raises PermissionError if somebody else got hold of that name.
    """
    home = data_dir.resolve()
    path = home / NAME
    if len(os.fsencode(path)) <= LONGEST:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return _private(Path(tempfile.gettempdir()) / f"kf2v-{os.getuid()}-{digest}") / NAME


def _private(directory: Path) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{directory} should be a directory that only its owner can open")
    return directory


def bind(path: Path) -> socket.socket:
    """A listening socket at ``path`` that only its owner can open; what a dead server left there is replaced.

    That no living server uses ``path`` is for the caller to know.
    """
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)  # before listen(), so nobody gets in between
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound
