"""Questions about this installation, each answered by findings: green, yellow or red, and the fix of what is red."""
