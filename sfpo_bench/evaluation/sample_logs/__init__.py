"""Sample logs that other programs wrote: recognised by content, read into one form, scored like our own samples."""
