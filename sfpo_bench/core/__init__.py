"""What every part of the package may import: records, errors, fields of settings, seeded randomness. No torch here."""
