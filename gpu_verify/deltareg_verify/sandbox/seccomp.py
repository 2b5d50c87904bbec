"""A seccomp filter: the child starts no program and no process, traces none, and connects nowhere.

Classic BPF over `struct seccomp_data` (seccomp(2)): a refused call returns EPERM. `clone3` answers
ENOSYS, because a filter cannot see its flags; the C library then uses `clone`, which is allowed for
threads only. Sockets are those of files, which lead nowhere from a mount namespace: a family that
reaches another machine, such as vsock, need not be one that a network namespace holds back.
"""

import ctypes
import errno
import struct

from deltareg_verify.sandbox import kernel

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FORBIDDEN: dict[str, tuple[int, ...]] = {
    # fork vfork execve ptrace execveat bpf userfaultfd add_key request_key keyctl
    # process_vm_readv process_vm_writev io_uring_setup/enter/register mount umount2 pivot_root
    # init_module finit_module kexec_load perf_event_open setns unshare open_by_handle_at
    "x86_64": (
        57,
        58,
        59,
        101,
        322,
        321,
        323,
        248,
        249,
        250,
        310,
        311,
        425,
        426,
        427,
        165,
        166,
        155,
        175,
        313,
        246,
        298,
        308,
        272,
        304,
    ),
    "aarch64": (
        221,
        117,
        281,
        280,
        282,
        217,
        218,
        219,
        270,
        271,
        425,
        426,
        427,
        40,
        39,
        41,
        105,
        273,
        104,
        241,
        268,
        97,
        265,
    ),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_FILE_SOCKETS = 1
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_FILTER_MODE = 2


def restrict() -> None:
    """Put the filter on this thread and all that it starts; needs `no_new_privs`.

    Raises:
        OSError: The kernel refuses, or there is no list of calls for this processor.
    """
    machine = kernel.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter is written for {machine}")
    code = program(machine)
    body = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the count of instructions, padding, a pointer to them.
    head = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(body))
    kernel.prctl(kernel.PR_SET_SECCOMP, _FILTER_MODE, ctypes.create_string_buffer(head, len(head)))


def program(machine: str) -> bytes:
    """Assemble the filter for a processor."""
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
        # x86-64 has a second table of the same calls under another number.
        _line(_AT_LEAST, _X32_BIT, 0, 1),
        _line(_RETURN, _ERRNO | errno.EPERM),
    ]
    for number in _FORBIDDEN[machine]:
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ERRNO | errno.EPERM)]
    lines += [
        _line(_EQUAL, _CLONE3, 0, 1),
        _line(_RETURN, _ERRNO | errno.ENOSYS),
        _line(_EQUAL, _SOCKET[machine], 0, 4),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_EQUAL, _FILE_SOCKETS, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _ERRNO | errno.EPERM),
        _line(_EQUAL, _CLONE[machine], 0, 3),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_HAS_BITS, _CLONE_THREAD, 1, 0),
        _line(_RETURN, _ERRNO | errno.EPERM),
        _line(_RETURN, _ALLOW),
    ]
    return b"".join(lines)


def _line(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, value)
