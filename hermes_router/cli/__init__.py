"""The `hr` command: speaks to a person and to the daemon, decides nothing."""
