"""What Windows lacks and forbids, on Linux: as much of it as a process can be told.

`hide()` comes before anything of kvae is imported, `forbid()` after it. Neither can be undone: call
them in a process of their own. Other libraries know by themselves which system they run on, and are
imported before.
"""

import ast
import errno
import os
import shutil
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

MODULES = (
    "fcntl", "grp", "posix_ipc", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty",
)  # fmt: skip
FUNCTIONS = (
    "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fchmod", "fork", "forkpty",
    "getegid", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg", "lchown", "mkfifo",
    "nice", "posix_fadvise", "posix_fallocate", "pread", "preadv", "pwrite", "register_at_fork",
    "sched_getaffinity", "sched_setaffinity", "setsid", "sync", "uname", "wait3", "wait4",
)  # fmt: skip


def hide():
    """Take the modules and functions away that Windows does not have."""
    for name in sorted(_others()):
        with suppress(ImportError):  # of an extra
            import_module(name)
    for name in MODULES:
        sys.modules[name] = None
    for name in FUNCTIONS:
        if hasattr(os, name):
            delattr(os, name)


def _others():
    """The modules of other libraries that kvae imports anywhere."""
    for path in (Path(__file__).parents[1] / "kvae").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                first = name.partition(".")[0]
                if first not in ("kvae", "jax", "torch", "apache_beam", *sys.stdlib_module_names):
                    yield name


def forbid():
    """Refuse what Windows refuses, which is said to kvae too.

    No folder can be opened; what is synced must be open for writing; what is open or mapped in this
    process is neither removed nor replaced nor renamed, nor is a folder that holds it.
    """
    from kvae import files

    files.WINDOWS = True
    shutil._use_fd_functions = False
    opened = {}
    real = {name: getattr(os, name) for name in ("open", "fsync", "unlink")}

    def open_file(path, flags, *rest, **named):
        nameless = flags & os.O_TMPFILE == os.O_TMPFILE  # how `tempfile` makes a file on Linux
        if Path(path).is_dir() and not nameless:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        descriptor = real["open"](path, flags, *rest, **named)
        opened[descriptor] = flags
        return descriptor

    def fsync(descriptor):
        if not opened.get(descriptor, os.O_RDWR) & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real["fsync"](descriptor)

    def unlink(path, **named):
        _check_free(path)
        real["unlink"](path, **named)

    os.open, os.fsync, os.unlink, os.remove = open_file, fsync, unlink, unlink
    os.replace, os.rename = _moved(os.replace, may_exist=True), _moved(os.rename, may_exist=False)


def _moved(move, *, may_exist):
    def moved(source, target, **named):
        _check_free(source)
        _check_free(target)
        if Path(target).exists() and not (may_exist and Path(target).is_file()):
            raise FileExistsError(errno.EEXIST, "File exists", str(target))
        move(source, target, **named)

    return moved


def _check_free(path):
    path = os.path.realpath(path)
    held = [one for one in _in_use() if one == path or one.startswith(f"{path}/")]
    if held:
        raise PermissionError(errno.EACCES, f"{held[0]} is in use", path)


def _in_use():
    """Files that this process has open or mapped."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            yield str(link.readlink())
        except OSError:
            continue
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        yield line.partition("/")[2] and "/" + line.partition("/")[2]
