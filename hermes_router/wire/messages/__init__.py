"""The Messages dialect: requests and answers, in both directions."""
