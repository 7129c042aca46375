"""Terms that are added to a policy-gradient loss with a rule of their own for the division: one small file each."""
