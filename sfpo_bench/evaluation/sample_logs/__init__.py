"""Sample logs of other programs: recognised by their content, read into one format, scored like our own samples."""
