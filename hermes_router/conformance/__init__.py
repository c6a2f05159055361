"""What a caller may say in each dialect, and how an endpoint is held to it from outside.

Imports nothing of ours: a proof that is built on our encoders would prove our own errors right.
"""
