"""The first steps inside the box's own namespaces: its root is laid out, and this process becomes systemd.

Runs once a boot, as `python inside.py FOLDER [HOST=INSIDE...]`, by whoever has unshared pid, mount, ipc, uts, cgroup and
net for it. FOLDER holds `upper` and `work` (a tmpfs that lives as long as the box) and `root`. The host is the overlay's
lower side: all of it is there, nothing of it can be written, but what is bound by name.
"""

import ctypes
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE, SHARED = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18, 1 << 20
DETACH = 2

# What a box has no hardware or no business for, or what would touch the kernel that it shares with the host.
MASKED = """
console-getty.service getty.target dev-hugepages.mount dev-mqueue.mount e2scrub_all.timer e2scrub_reap.service
kmod-static-nodes.service man-db.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer
logrotate.timer networking.service ifupdown-pre.service proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount
sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-binfmt.service systemd-modules-load.service
systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service systemd-pcrphase.service
systemd-pcrphase-sysinit.service systemd-pstore.service systemd-random-seed.service systemd-remount-fs.service
systemd-repart.service systemd-firstboot.service systemd-sysctl.service systemd-timesyncd.service systemd-udevd.service
systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service ssh.service cron.service
NetworkManager-wait-online.service
"""
LOST = "-sys_time,-sys_rawio,-sys_module,-sys_boot,-mac_admin,-mac_override"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mount(source: str, target: Path | str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, or raise OSError."""
    words = (os.fsencode(source), os.fsencode(target), os.fsencode(kind) or None, flags, os.fsencode(data) or None)
    if _LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[4]):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def lay_out(folder: Path, binds: list[tuple[str, str]]) -> Path:
    """The root of the box, mounted."""
    root = folder / "root"
    mount("none", "/", "", REC | PRIVATE)
    mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work")
    mount("proc", root / "proc", "proc", NOSUID | NODEV | NOEXEC)
    mount(f"{root}/proc/sys", root / "proc/sys", "", BIND)
    mount("none", root / "proc/sys", "", REMOUNT | BIND | RDONLY)
    mount("sysfs", root / "sys", "sysfs", RDONLY | NOSUID | NODEV | NOEXEC)
    mount("cgroup2", root / "sys/fs/cgroup", "cgroup2", NOSUID | NODEV | NOEXEC)
    make_devices(root / "dev")
    mount("tmpfs", root / "run", "tmpfs", NOSUID | NODEV, "mode=755")
    mount("tmpfs", root / "tmp", "tmpfs", 0, "mode=1777")
    for source, target in binds:
        place = root / target.lstrip("/")
        if Path(source).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        mount(source, place, "", BIND | REC)
        mount("none", place, "", REMOUNT | BIND | RDONLY)
    return root


def make_devices(dev: Path) -> None:
    mount("tmpfs", dev, "tmpfs", NOSUID, "mode=755")
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ):
        os.mknod(dev / name, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    (dev / "pts").mkdir()
    (dev / "shm").mkdir()
    mount("devpts", dev / "pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    mount("tmpfs", dev / "shm", "tmpfs", NOSUID | NODEV, "mode=1777")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                         ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):  # fmt: skip
        (dev / name).symlink_to(target)


def settle(root: Path) -> None:
    """What the host has enabled, and what it is called, are not the box's. Only at the first boot."""
    units = root / "etc/systemd/system"
    for wants in (*units.glob("*.wants"), *units.glob("*.requires")):
        shutil.rmtree(wants)
    for name in MASKED.split():
        link(units / name)
    generators = root / "etc/systemd/system-generators"
    generators.mkdir(exist_ok=True)
    for vendor in (root / "usr/lib/systemd/system-generators").glob("*"):
        if "postgresql" in vendor.name or "cloud" in vendor.name:
            link(generators / vendor.name)
    for place in ("etc/systemd/user", "root/.config/systemd", "var/lib/systemd/linger", "var/log/journal"):
        shutil.rmtree(root / place, ignore_errors=True)
    (root / "var/log/journal").mkdir()  # there: the journal is kept, and users may read their own
    (root / "etc/fstab").write_text("")
    (root / "etc/machine-id").write_text(secrets.token_hex(16) + "\n")
    (root / "etc/hostname").write_text("box\n")


def link(place: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to("/dev/null")


def enter(root: Path) -> None:
    """Leave the host's root behind."""
    os.chdir(root)
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    if _LIBC.syscall(number, b".", b"mnt"):
        raise OSError(ctypes.get_errno(), "pivot_root")
    _LIBC.umount2(b"/mnt", DETACH)
    os.chdir("/")
    # A container's manager is expected to do so: else the directories of LoadCredential= stay empty.
    mount("none", "/", "", REC | SHARED)


def main() -> None:
    folder, binds = Path(sys.argv[1]), [tuple(word.split("=", 1)) for word in sys.argv[2:]]
    root = lay_out(folder, binds)
    settled = folder / "settled"
    if not settled.exists():
        settle(root)
        settled.touch()
    socket.sethostname("box")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    systemd = next(p for p in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if Path(p).exists())
    enter(root)
    words = [
        "setpriv",
        "--bounding-set",
        LOST,
        systemd,
        "--system",
        "--unit=multi-user.target",
        "--log-target=journal",
        "--show-status=false",
    ]
    os.execvpe("setpriv", words, {"container": "box", "PATH": PATH})


if __name__ == "__main__":
    main()
