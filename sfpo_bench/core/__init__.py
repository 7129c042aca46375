"""The base of the package: records, errors, setting fields and seeded randomness, without torch."""
