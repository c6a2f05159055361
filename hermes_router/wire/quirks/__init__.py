"""What single providers want changed in a Chat request before it leaves."""
