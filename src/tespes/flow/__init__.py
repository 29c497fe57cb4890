"""What flows: commands into the log, the log to its followers, steps to Pulsar, messages back."""
