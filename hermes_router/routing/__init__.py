"""The brain: decides which target serves a request. Pure; time comes from outside."""
