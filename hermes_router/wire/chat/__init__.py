"""Chat Completions: requests and answers, in both directions."""
