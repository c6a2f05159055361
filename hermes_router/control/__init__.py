"""The control socket and the places on disk that daemon and CLI share."""
