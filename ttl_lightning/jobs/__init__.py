"""Many runs: planned, each in a process of its own, recorded whatever happens to it, resumed."""
