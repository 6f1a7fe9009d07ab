"""What a run writes down and watches: log, energy, signs of trouble."""
