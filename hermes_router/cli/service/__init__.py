"""The router as a service: installed, shown and removed, by systemd or launchd."""
