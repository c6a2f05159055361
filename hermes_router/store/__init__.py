"""What outlives the process: the vault of secrets, router keys, and the record of what was used."""
