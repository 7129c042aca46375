"""The room that knows files: folders, what lies in them under which name, and how it is read and written."""
