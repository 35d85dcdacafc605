"""Every option of the library, as typed dataclasses: the only place where defaults live."""
