"""What holds for every request, whatever is asked for."""
