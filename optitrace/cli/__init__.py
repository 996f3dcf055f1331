"""The command line: the only room that parses, prints and exits."""
