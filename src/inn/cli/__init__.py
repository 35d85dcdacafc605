"""The command line: `main`, and one file per command, which parses options, calls the library and prints."""
