"""The Responses dialect: requests and answers, in both directions."""
