"""The command line, which alone parses arguments, prints and exits."""
