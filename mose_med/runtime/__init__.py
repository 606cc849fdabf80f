"""How a program runs: threads that work ahead, devices, memory errors, random streams, imports on first use."""
