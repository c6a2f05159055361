"""The daemon's log: its events, their forms, and where the lines go."""
