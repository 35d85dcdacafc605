"""Two models side by side: which neurons of one correspond to which of the other."""
