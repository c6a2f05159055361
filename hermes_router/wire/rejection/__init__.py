"""What a provider's refusal means: whom it blames, and when to come back."""
