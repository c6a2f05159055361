"""All checks, a row each: the table that the command runs and that docs/doctor.md shows.

Owns names, order and time limits. What a check looks at stands in the modules of its area.
"""

from typing import Final

from hermes_router.cli.doctor import (
    daemon_checks,
    keys_checks,
    machine_checks,
    network_checks,
    service_checks,
    settings_checks,
)
from hermes_router.cli.doctor.finding import Check
from hermes_router.cli.doctor.reach import WAIT_S

__all__ = ["CHECKS"]

_DAEMON, _SETTINGS, _KEYS, _NETWORK, _SERVICE, _MACHINE = (
    "The daemon", "Settings", "Keys and models", "Network", "Service", "This machine",
)  # fmt: skip
_WALK_S: Final = WAIT_S + 2.0
_MANAGER_S: Final = 20.0  # it is asked several times

CHECKS: Final = (
    Check("daemon", "Daemon", _DAEMON, "It runs, and answers on its control socket.", daemon_checks.daemon),
    Check("version", "Version", _DAEMON, "Daemon and `hr` are of one version.", daemon_checks.version),
    Check("socket", "Control socket", _DAEMON, "Its path is possible, a socket, and closed to others.",
          daemon_checks.socket),
    Check("lock", "Lock", _DAEMON, "The installation's lock is the daemon's that answers.", daemon_checks.lock),
    Check("port", "Port", _DAEMON, "PORT is the daemon's or free; else who has it, the original router included.",
          daemon_checks.port),
    Check("other-routers", "Other routers", _DAEMON, "No other router runs on this machine.",
          daemon_checks.other_routers),
    Check("default-key", "Default key", _DAEMON, "The router key that everybody knows is not good.",
          daemon_checks.default_key),
    Check("open-host", "Reachable from", _DAEMON, "Only this machine reaches it, unless HOST says otherwise.",
          daemon_checks.open_host),
    Check("notify", "Notification", _DAEMON, "What was to be told by NOTIFY_URL and NOTIFY_COMMAND arrived.",
          daemon_checks.notify),
    Check("settings", "Settings", _SETTINGS, "config.toml, `.env`, providers.toml and stored files: each problem by "
          "file and line.", settings_checks.settings),
    Check("shadowed", "Hidden settings", _SETTINGS, "No setting in a file is hidden by a stronger place.",
          settings_checks.shadowed),
    Check("stray-env", "Stray .env", _SETTINGS, "No `.env` in the current directory is taken for ours.",
          settings_checks.stray_env),
    Check("permissions", "Permissions", _SETTINGS, "Private files are the owner's, and closed to others.",
          settings_checks.permissions),
    Check("vault", "Vault", _KEYS, "The keyring answers, where keys rest in it.", keys_checks.vault),
    Check("secrets", "Stored keys", _KEYS, "Every stored key has its secret.", keys_checks.secrets),
    Check("keys", "Keys", _KEYS, "There is a key; none is revoked, paused or without credit.", keys_checks.keys),
    Check("single-provider", "Providers", _KEYS, "More than one provider can answer.", keys_checks.single_provider),
    Check("accounts", "Logins", _KEYS, "Accounts are logged in, and stay so.", keys_checks.accounts),
    Check("context", "Windows", _KEYS, "A model takes the 64k tokens that agents need.", keys_checks.context),
    Check("tools", "Tools", _KEYS, "A model takes tools.", keys_checks.tools),
    Check("images", "Images", _KEYS, "A model takes images.", keys_checks.images),
    Check("retired", "Retired", _KEYS, "Providers and models in use still exist.", keys_checks.retired),
    Check("budgets", "Budgets", _KEYS, "Budgets are below 80 %.", keys_checks.budgets),
    Check("quota", "Quota", _KEYS, "Quota windows of a day and more have a tenth left.", keys_checks.quota),
    Check("proxy", "Proxy", _NETWORK, "Proxies that are set answer, and the daemon has those of the shell.",
          network_checks.proxy, 8.0, network=True),
    Check("no-proxy", "NO_PROXY", _NETWORK, "Callers in this shell reach the router without a proxy.",
          network_checks.no_proxy),
    Check("network", "Providers reached", _NETWORK, "Each provider in use: DNS, TCP, TLS and HTTP, with times.",
          network_checks.network, _WALK_S, network=True),
    Check("local", "Local servers", _NETWORK, "Servers of your own are up, and their windows known.",
          network_checks.local_servers, _WALK_S, network=True),
    Check("clock", "Clock", _NETWORK, "The clock is within 30 s of the providers'.", network_checks.clock, _WALK_S,
          network=True),
    Check("service", "Service", _SERVICE, "A service is installed, ours, up to date, enabled and running.",
          service_checks.service, _MANAGER_S),
    Check("linger", "Lingering", _SERVICE, "The user's service runs with nobody logged in.", service_checks.linger,
          _MANAGER_S),
    Check("two-services", "Two services", _SERVICE, "Not both a user's and the system's service.",
          service_checks.two_services, _MANAGER_S),
    Check("disk", "Disk", _MACHINE, "There is room for state, keys and log, in bytes and in files.",
          machine_checks.disk),
    Check("writable", "Writable", _MACHINE, "State, keys and settings can be written.", machine_checks.writable),
    Check("log-file", "Log", _MACHINE, "The log can be written.", machine_checks.log_file),
    Check("database", "Databases", _MACHINE, "Usage and answers are in sound databases.", machine_checks.databases,
          30.0),
    Check("descriptors", "Open files", _MACHINE, "The daemon may have the connections that it needs.",
          machine_checks.descriptors),
    Check("memory", "Memory", _MACHINE, "There is memory left, and the daemon takes a sane part.",
          machine_checks.memory),
    Check("python", "Python", _MACHINE, "The Python is one that the router was made for.", machine_checks.python),
    Check("two-hr", "hr on PATH", _MACHINE, "`hr` is on PATH, and only once.", machine_checks.two_hr),
    Check("completion", "Completion", _MACHINE, "The shell completes `hr`.", machine_checks.completion),
)  # fmt: skip
