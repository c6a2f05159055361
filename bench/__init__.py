"""What a request costs: the gateway's own CPU time, side by side with a minimal proxy and nginx."""
