"""Rules: when parts are active, in few yes-or-no questions about what was read, and the automaton of what counts."""
