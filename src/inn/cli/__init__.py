"""The command line: `main`, and one file per command, which parses its options, calls the library and prints."""
