"""Layout of result folders: which files they hold, and how each file is read and written."""
