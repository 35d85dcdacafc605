"""What the neurons do: recordings, and pure functions from recordings to tables."""

from inn.analysis.effective import effective_neurons, measure_effective_neurons
from inn.analysis.record import record
from inn.tape import Connectivity, Tape

__all__ = ["Connectivity", "Tape", "effective_neurons", "measure_effective_neurons", "record"]
