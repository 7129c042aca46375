"""What is trained beside the policy: one small file per kind."""
