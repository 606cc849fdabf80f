"""From the dataclass of a command's options to a command: options, help, errors, console."""
