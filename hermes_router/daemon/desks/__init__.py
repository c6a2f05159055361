"""What `hr` asks of a running daemon, question by question: a desk for each kind."""
