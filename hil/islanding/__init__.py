"""Anti-islanding experiments: many islands at once, the real detector, a command link as slow as the real one."""
