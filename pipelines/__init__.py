"""Commands: they combine the library's parts, log, resume, read the environment and report."""
